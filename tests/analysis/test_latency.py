"""Latency: the interleaved measurement finds a known ratio under heavy noise; every runtime keeps its promises."""

import gc
import json
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.analysis import latency, latency_pairs
from core.analysis.latency import MIN_PAIRS, LatencySettings, measure_latency
from core.analysis.medians import median_interval, speed_verdict
from core.analysis.runtimes import LATENCY_RUNTIMES
from core.errors import Cancelled, ExportError, MeasurementError, PlanError
from core.models.capture import trace
from core.models.traced import TracedModel
from core.progress import Progress

QUICK = {"pairs": MIN_PAIRS, "warmup": 0}
ROW = {"variant", "runtime", "batch", "threads", "median_ms", "low_ms", "high_ms", "ratio", "ratio_low", "ratio_high"}


class Net(nn.Module):
    """A convolutional network whose work grows with the square of its width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


def _net(width: int) -> TracedModel:
    return trace(Net(width).eval(), (3, 24, 24))


@pytest.fixture(scope="module")
def models() -> dict[str, TracedModel]:
    return {"dense": _net(32), "narrow": _net(8)}


# -- against a simulated machine --------------------------------------------------------------------------------------


class Clock:
    """A simulated machine: a run takes its cost × the machine's slowness, which drifts and jumps as it pleases."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs_ms: Mapping[str, float], *, noise: float) -> None:
        self.now, self.slowness, self.noise = 0.0, 1.0, noise
        self.random = random.Random(7)
        clock = self

        class Simulated:
            """Runs models by letting time pass."""

            title = "Simulated"

            def unavailable(self) -> str | None:
                return None

            def prepare(self, model: Any, folder: Path) -> float:
                if model.cost_ms is None:
                    raise ExportError("This one cannot be expressed.")
                return model.cost_ms

            def threads(self, count: int) -> AbstractContextManager[None]:
                return nullcontext()

            def open(self, prepared: float, images: np.ndarray, *, threads: int) -> Callable[[], object]:
                return lambda: clock.run(prepared * len(images) / threads)

        monkeypatch.setitem(LATENCY_RUNTIMES._members, "simulated", Simulated)
        monkeypatch.setattr(latency_pairs.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(latency.CpuUse, "sample", classmethod(lambda cls: 0.0))
        self.models: dict[str, Any] = {name: Stand(cost) for name, cost in costs_ms.items()}

    def run(self, cost_ms: float) -> None:
        if self.random.random() < 0.1:  # another program starts or stops
            self.slowness = self.random.choice([1.0, 1.5, 4.0, 10.0])
        spike = 20.0 if self.random.random() < 0.05 else 1.0
        self.now += cost_ms / 1e3 * (1 + self.noise * (self.slowness * spike - 1))


class Stand:
    """Stands for a model in the simulated runtime."""

    input_shape = (1, 2, 2)

    def __init__(self, cost_ms: float | None) -> None:
        self.cost_ms = cost_ms


def test_known_ratios_are_found_on_a_machine_that_slows_down_tenfold(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 10.0, "twice": 5.0, "slow": 12.5, "same": 10.0}, noise=1.0)
    result = measure_latency(clock.models, reference="dense", settings=LatencySettings(runtimes=("simulated",)))
    rows = {row["variant"]: row for row in result["rows"]}
    for name, truth in {"twice": 2.0, "slow": 0.8, "same": 1.0}.items():
        assert rows[name]["ratio"] == pytest.approx(truth, rel=0.02)
        assert rows[name]["ratio_low"] <= truth * 1.001
        assert rows[name]["ratio_high"] >= truth * 0.999
    # the means of the same samples, taken one after the other, would not have told
    assert rows["dense"]["high_ms"] / rows["dense"]["low_ms"] > 1.2
    assert rows["twice"]["verdict"] == "faster"
    assert rows["same"]["verdict"] == "no difference shown"
    assert rows["dense"]["verdict"] == "reference"
    assert "“twice” 2.00×" in result["sentence"]


def test_the_luck_of_a_load_is_in_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every load of the same file is a few percent faster or slower: pairs within one load would not tell."""
    clock = Clock(monkeypatch, {"dense": 10.0, "same": 10.0}, noise=0.0)
    plain_open = LATENCY_RUNTIMES["simulated"].open

    def lucky(self: Any, prepared: float, images: np.ndarray, *, threads: int) -> Callable[[], object]:
        return plain_open(self, prepared * clock.random.uniform(0.95, 1.05), images, threads=threads)

    monkeypatch.setattr(LATENCY_RUNTIMES["simulated"], "open", lucky)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # a quarter of a second, forty times
    settings = LatencySettings(runtimes=("simulated",), **QUICK)
    rows = [measure_latency(clock.models, reference="dense", settings=settings)["rows"][1] for _ in range(40)]
    assert {row["loads"] for row in rows} == {latency_pairs.LOADS}
    assert sum(row["ratio_low"] <= 1 <= row["ratio_high"] for row in rows) >= 36
    assert sum(row["verdict"] == "no difference shown" for row in rows) >= 38


def test_nothing_is_ranked_inside_the_noise_floor() -> None:
    def verdict(low: float, high: float, noise_low: float, noise_high: float) -> str:
        return speed_verdict(low, high, noise_low=noise_low, noise_high=noise_high)

    assert verdict(1.01, 1.05, 0.9, 1.1) == "no difference shown"
    assert verdict(0.95, 1.20, 0.99, 1.01) == "no difference shown"
    assert verdict(1.12, 1.20, 0.9, 1.1) == "faster"
    assert verdict(0.70, 0.80, 0.9, 1.1) == "slower"
    # a noise floor that misses 1 does not make equality a difference
    assert verdict(1.01, 1.03, 0.90, 0.95) == "faster"
    assert verdict(0.96, 1.02, 1.03, 1.10) == "no difference shown"


def test_the_grid_is_complete_and_times_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 4.0, "half": 2.0}, noise=0.0)
    settings = LatencySettings(runtimes=("simulated",), batch_sizes=(1, 8), threads=(1, 2), **QUICK)
    rows = measure_latency(clock.models, reference="dense", settings=settings)["rows"]
    assert {(row["variant"], row["batch"], row["threads"]) for row in rows} == {
        (name, batch, threads) for name in ("dense", "half") for batch in (1, 8) for threads in (1, 2)
    }
    for row in rows:
        expected_ms = (4.0 if row["variant"] == "dense" else 2.0) * row["batch"] / row["threads"]
        assert row["median_ms"] == pytest.approx(expected_ms)
        assert row["first_run_ms"] == pytest.approx(expected_ms)
        assert row["pairs"] == MIN_PAIRS


def test_short_runs_are_timed_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 0.1, "long": 50.0}, noise=0.0)
    settings = LatencySettings(runtimes=("simulated",), **QUICK)
    rows = measure_latency(clock.models, reference="dense", settings=settings)["rows"]
    assert {row["runs_per_sample"] for row in rows} == {30}
    assert rows[0]["median_ms"] == pytest.approx(0.1)


def test_the_time_limit_leaves_enough_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 1000.0}, noise=0.0)
    monkeypatch.setattr(latency_pairs.time, "monotonic", lambda: clock.now)
    settings = LatencySettings(runtimes=("simulated",), pairs=1000, max_seconds=1.0)
    (row,) = measure_latency(clock.models, reference="dense", settings=settings)["rows"]
    assert row["pairs"] == MIN_PAIRS


def test_a_model_that_a_runtime_cannot_run_is_left_out_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 5.0, "odd": 5.0}, noise=0.0)
    clock.models["odd"].cost_ms = None
    settings = LatencySettings(runtimes=("simulated",), **QUICK)
    result = measure_latency(clock.models, reference="dense", settings=settings)
    assert [row["variant"] for row in result["rows"]] == ["dense"]
    assert "“odd” was left out" in result["problems"][0]
    clock.models["dense"].cost_ms = None
    with pytest.raises(MeasurementError, match="Nothing could be measured"):
        measure_latency(clock.models, reference="dense", settings=settings)


def test_an_unavailable_runtime_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 5.0}, noise=0.0)
    monkeypatch.setattr(LATENCY_RUNTIMES["simulated"], "unavailable", lambda self: "The package x is not installed.")
    with pytest.raises(MeasurementError, match="x is not installed"):
        measure_latency(clock.models, reference="dense", settings=LatencySettings(runtimes=("simulated",)))


def test_a_busy_machine_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, {"dense": 5.0}, noise=0.0)
    settings = LatencySettings(runtimes=("simulated",), **QUICK)
    monkeypatch.setattr(latency.CpuUse, "others_cores", lambda self: 0.0)
    assert measure_latency(clock.models, reference="dense", settings=settings)["busy"] is False
    monkeypatch.setattr(latency.CpuUse, "others_cores", lambda self: 1000.0)
    result = measure_latency(clock.models, reference="dense", settings=settings)
    assert result["busy"] is True
    assert "busy" in result["sentence"]


# -- every registered runtime, for real -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(LATENCY_RUNTIMES))
class TestRuntimeContract:
    def test_it_has_a_title_and_is_available_or_says_why(self, name: str) -> None:
        runtime = LATENCY_RUNTIMES[name]()
        assert runtime.title
        assert LATENCY_RUNTIMES.summary(name)
        assert runtime.unavailable() is None or runtime.unavailable().endswith(".")  # type: ignore[union-attr]

    @pytest.fixture(autouse=True)
    def _installed(self, name: str, request: pytest.FixtureRequest) -> None:
        reason = LATENCY_RUNTIMES[name]().unavailable()
        if reason is not None and "says_why" not in request.node.name:
            pytest.skip(reason)

    def test_it_computes_the_model(self, name: str, models: dict[str, TracedModel], tmp_path: Path) -> None:
        runtime, model = LATENCY_RUNTIMES[name](), models["dense"]
        prepared = runtime.prepare(model, tmp_path)
        for batch in (1, 3):
            images = np.random.default_rng(0).standard_normal((batch, 3, 24, 24), dtype=np.float32)
            answer = runtime.open(prepared, images, threads=1)()
            found = answer[0] if isinstance(answer, list) else answer
            with torch.no_grad():
                expected = model.predict(torch.from_numpy(images))
            torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-3, atol=1e-4)

    def test_less_work_is_faster(self, name: str, models: dict[str, TracedModel]) -> None:
        settings = LatencySettings(runtimes=(name,), pairs=15, batch_sizes=(4,))
        result = measure_latency(models, reference="dense", settings=settings)
        narrow = next(row for row in result["rows"] if row["variant"] == "narrow")
        assert narrow["ratio"] > 1.2
        assert narrow["ratio_low"] <= narrow["ratio"] <= narrow["ratio_high"]
        assert narrow["low_ms"] <= narrow["median_ms"] <= narrow["high_ms"]
        assert set(narrow) >= ROW
        assert json.loads(json.dumps(result)) == result

    def test_it_leaves_the_process_and_the_model_alone(self, name: str, models: dict[str, TracedModel]) -> None:
        model = models["dense"].clone().train()
        before = (torch.get_num_threads(), model.fingerprint(), gc.isenabled())
        measure_latency({"m": model}, reference="m", settings=LatencySettings(runtimes=(name,), threads=(2,), **QUICK))
        assert (torch.get_num_threads(), model.fingerprint(), gc.isenabled()) == before
        assert model.training

    def test_a_cancel_ends_it_and_cleans_up(self, name: str, models: dict[str, TracedModel]) -> None:
        class Stop(Progress):
            pairs = 0

            def update(self, done: float, total: float, message: str = "") -> None:
                self.pairs = int(done)

            def check(self) -> None:
                if self.pairs >= 3:
                    raise Cancelled

        before = torch.get_num_threads()
        with pytest.raises(Cancelled):
            measure_latency(
                models, reference="dense", settings=LatencySettings(runtimes=(name,), threads=(2,)), progress=Stop()
            )
        assert gc.isenabled()
        assert torch.get_num_threads() == before


def test_partial_results_are_complete_in_themselves(models: dict[str, TracedModel]) -> None:
    class Listener(Progress):
        def __init__(self) -> None:
            self.partials: list[Mapping[str, Any]] = []
            self.last = (0.0, 0.0)

        def update(self, done: float, total: float, message: str = "") -> None:
            self.last = (done, total)

        def publish(self, partial: Mapping[str, Any]) -> None:
            self.partials.append(partial)

    listener = Listener()
    result = measure_latency(models, reference="dense", settings=LatencySettings(**QUICK), progress=listener)
    assert [len(partial["rows"]) for partial in listener.partials] == [2, 4]
    assert set(listener.partials[0]) == set(result)
    assert listener.last[0] + 1 == listener.last[1]


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_models_that_cannot_be_compared_are_refused(models: dict[str, TracedModel]) -> None:
    with pytest.raises(MeasurementError, match="“missing”"):
        measure_latency(models, reference="missing")
    with pytest.raises(MeasurementError, match="none came"):
        measure_latency({}, reference="dense")
    other = trace(Net(8).eval(), (3, 16, 16))
    with pytest.raises(MeasurementError, match="same images"):
        measure_latency({**models, "other": other}, reference="dense")


@pytest.mark.parametrize(
    "wrong", [{"runtimes": ["abacus"]}, {"runtimes": []}, {"threads": [0]}, {"batch_sizes": [-1]}, {"pairs": 1}]
)
def test_settings_out_of_range_are_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=next(iter(wrong))):
        LatencySettings.parse(wrong)


def test_settings_round_trip_and_drop_repetitions() -> None:
    settings = LatencySettings(threads=(1, 2, 1), batch_sizes=(8, 8))
    assert (settings.threads, settings.batch_sizes) == ((1, 2), (8,))
    assert LatencySettings.parse(settings.to_json()) == settings


# -- the interval -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 7, 10, 29, 30, 31, 100, 1000])
def test_the_interval_is_the_shortest_that_the_sign_test_allows(n: int) -> None:
    from scipy.stats import binom

    _, low, high = median_interval(np.arange(1, n + 1))
    rank = int(low)
    assert high == n + 1 - rank
    assert 1 - 2 * binom.cdf(rank - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, n, 0.5) < 0.95


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_values_give_their_range(n: int) -> None:
    assert median_interval(range(n)) == ((n - 1) / 2, 0, n - 1)
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])
