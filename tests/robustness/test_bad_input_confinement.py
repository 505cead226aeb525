"""Untrusted files are opened by a process that cannot harm: memory, time, files, network, and what it hands back."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from core import confinement
from core.confinement import Ending, Limits, run_confined
from core.errors import Cancelled, CheckpointError
from core.models import checkpoint_reader
from core.models.checkpoint_reader import read_confined
from core.models.checkpoints import load_checkpoint
from core.progress import Progress

from ..patience import patient

ENOUGH = Limits(memory_bytes=400_000_000, file_bytes=1_000_000, cpu_s=20, wall_s=60.0)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of the kernel: Linux")


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits = ENOUGH, **options: object) -> Ending:
    """Run code in a confined process, as a module of its own."""
    (folder / "confined_test_module.py").write_text(
        "import sys\nfrom core.confinement import confine, limits_from\nconfine(limits_from(sys.argv[1]))\n" + code
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return run_confined("confined_test_module", [], limits, folder=folder, **options)


@pytest.mark.row("B06", "B07", "B20")
def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "try:\n    bytearray(10**9)\nexcept MemoryError:\n    sys.exit(7)\n"
    assert run(code, tmp_path, monkeypatch) == Ending(7)


@pytest.mark.row("B06")
def test_processor_time_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(**{**vars(ENOUGH), "cpu_s": 1})
    assert run("while True: pass", tmp_path, monkeypatch, limits).out_of_time


def test_waiting_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.monotonic()
    ending = run("import time; time.sleep(60)", tmp_path, monkeypatch, Limits(**{**vars(ENOUGH), "wall_s": 1.5}))
    assert ending.out_of_time
    assert time.monotonic() - before < patient(15)


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "try:\n    open('big', 'wb').write(bytes(2_000_000))\nexcept OSError:\n    sys.exit(7)\n"
    assert run(code, tmp_path, monkeypatch) == Ending(7)
    assert (tmp_path / "big").stat().st_size <= ENOUGH.file_bytes


def test_no_secret_of_the_environment_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_AUTH_COOKIE_SECRET", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert run("import os; sys.exit(3 if 'secret' in os.environ.values() else 0)", tmp_path, monkeypatch) == Ending(0)


def test_no_other_process_is_started_and_priority_is_low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = os.nice(0)
    assert run(f"import os; sys.exit(0 if os.nice(0) > {min(here, 18)} else 3)", tmp_path, monkeypatch) == Ending(0)
    if os.getuid() != 0:  # the kernel does not count root's processes
        code = "import os\ntry:\n    os.fork()\nexcept OSError:\n    sys.exit(7)\n"
        assert run(code, tmp_path, monkeypatch) == Ending(7)


def test_there_is_no_network_where_the_kernel_lets_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not promised everywhere (SECURITY.md): where namespaces are forbidden this skips visibly."""
    allowed = subprocess.run(
        [sys.executable, "-c", "import ctypes, sys; u = ctypes.CDLL(None).unshare\n"
         "sys.exit(0 if u(0x40000000) == 0 or u(0x50000000) == 0 else 1)"],
        check=False,
    )  # fmt: skip
    if allowed.returncode:
        pytest.skip("this kernel gives no network namespaces to this user")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = (
            "import socket\ntry:\n"
            f"    socket.create_connection(('127.0.0.1', {port}), timeout=5)\nexcept OSError:\n    sys.exit(7)\n"
        )
        assert run(code, tmp_path, monkeypatch) == Ending(7)


def test_cancelling_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(Progress):
        def check(self) -> None:
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                raise Cancelled

    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(Cancelled):
        run(code, tmp_path, monkeypatch, progress=Impatient())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_limits_that_are_lower_already_are_kept() -> None:
    """As in a container that limits more than we do: ``confine`` does not stumble."""
    code = (
        "import resource\nfrom core.confinement import Limits, confine\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\nconfine(Limits(400_000_000, 1000, 20, 60.0))\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (32, 32)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "this process is as it was"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1000, 100)}, path)
    return path


@pytest.mark.row("B06", "B20")
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(20_000_000, 10**9, 20, 60.0), "more memory than any honest file|failed|crashed"),
        (Limits(400_000_000, 10_000, 20, 60.0), "copy cannot be written"),
        (Limits(400_000_000, 10**9, 20, 0.01), "more time"),
    ],
    ids=["memory", "disk", "time"],
)
def test_a_file_beyond_the_limits_is_refused_in_words(
    limits: Limits, words: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_reader, "_limits", lambda path: limits)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(weights)


@pytest.mark.parametrize(
    "facts", ["", "{", "[]", "{}", '{"names": 3, "notes": []}', '{"names": ["a", "b"], "notes": []}', "[" * 100_000]
)
def test_an_answer_that_cannot_be_is_refused(
    facts: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took over the reader would still have to be believed."""

    def taken_over(module: str, arguments: list[str], limits: Limits, *, folder: Path, **_: object) -> Ending:
        (folder / "facts.json").write_text(facts)
        (folder / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
        return Ending(0)

    monkeypatch.setattr(checkpoint_reader, "run_confined", taken_over)
    with pytest.raises(CheckpointError):
        load_checkpoint(weights)


@pytest.mark.row("B20")
def test_more_than_memory_is_refused_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.pt"
    with path.open("wb") as file:
        file.truncate(2**40)  # 1.1 TB that take no room
    monkeypatch.setattr(checkpoint_reader, "run_confined", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match="takes twice as much memory"):
        load_checkpoint(path)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="no regular file"):
            load_checkpoint(path)


def test_small_files_take_less_than_a_second_of_processor_time(weights: Path, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    reading = read_confined(weights, tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert json.loads((tmp_path / "facts.json").read_text())["names"] == list(reading.names or ())


def test_the_reader_imports_neither_torch_nor_an_unpickler_that_calls() -> None:
    code = "import sys, core.models.checkpoint_reader; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for name in ("checkpoint_reader", "checkpoint_files", "pickle_reader", "torch_pickle", "unwrapping", "rewriting"):
        source = (Path(confinement.__file__).parent / "models" / f"{name}.py").read_text()
        assert "import pickle\n" not in source
        assert "Unpickler(" not in source
