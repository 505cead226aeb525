"""The facts beside every latency number, and what counts as a busy machine."""

import json
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from core.analysis import machine
from core.analysis.expectation import expectation
from core.analysis.machine import CpuUse, busy_sentence, machine_facts
from core.pruning.plan import Plan


def test_facts_are_json_and_complete() -> None:
    facts = machine_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"]
    assert 0 < facts["available_cores"] <= facts["cores"]
    assert facts["memory_bytes"] > 2**20
    assert facts["versions"]["torch"]
    assert facts["versions"]["onnxruntime"]


def test_the_server_learns_them_without_torch() -> None:
    code = (
        "import sys, core.analysis.machine as m, core.analysis.latency, core.analysis.expectation, core.export.code;"
        "m.machine_facts(); print([n for n in ('torch', 'onnx', 'onnxruntime') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("others", "threads", "cores", "busy"),
    [
        (0.0, 1, 2, False),
        (0.9, 1, 2, False),  # the other core is free
        (1.5, 1, 2, True),
        (0.1, 2, 2, False),  # the murmur of an operating system
        (0.9, 2, 2, True),
        (0.0, 8, 2, False),  # more threads than cores is a choice, not somebody else's work
        (4.0, 4, 64, False),
    ],
)
def test_a_machine_is_busy_when_others_take_the_cores(others: float, threads: int, cores: float, busy: bool) -> None:
    sentence = busy_sentence(others, threads=threads, cores=cores)
    assert (sentence is not None) is busy
    if sentence:
        assert f"{others:.1f} of {cores} cores" in sentence


def test_only_the_work_of_others_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 10 s on 4 cores: 12 s by us, 5 s by others, 23 s idle."""
    fields = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
    times = type("scputimes", (tuple,), {"idle": property(lambda t: t[3]), "iowait": property(lambda t: t[4])})
    assert psutil.cpu_times()._fields[:4] == fields[:4] or sys.platform != "linux"
    now = [0.0]
    state = [times([0.0] * 8)]
    own = [SimpleNamespace(user=0.0, system=0.0)]
    monkeypatch.setattr(machine.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(machine.psutil, "cpu_times", lambda: state[0])
    monkeypatch.setattr(machine.psutil, "Process", lambda: SimpleNamespace(cpu_times=lambda: own[0]))
    use = CpuUse()
    now[0], own[0] = 10.0, SimpleNamespace(user=11.0, system=1.0)
    state[0] = times([14.0, 0.0, 1.0, 20.0, 3.0, 0.0, 0.0, 2.0])
    assert use.others_cores() == pytest.approx(0.5)


def test_expectations_are_honest() -> None:
    said = expectation(Plan(sparsity=0.8))
    assert "zeros do not make dense kernels faster" in said
    assert "0.81–1.12×" in said
    assert "Nothing is removed" in expectation(Plan(sparsity=0.0))
    assert "go for good" in expectation(Plan(sparsity=0.8), removes="units")
    assert "zeros" in expectation(Plan(sparsity=0.0, overrides={"conv1": 0.5}))
