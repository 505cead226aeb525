"""Properties of every allocation, and agreement with slow, obvious references."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError
from core.pruning import curves as pruning_curves
from core.pruning.allocation import ALLOCATIONS, LayerScores, allocate
from core.pruning.curves import convex_curve, curve, isotonic, lower_hull, with_doubt
from core.pruning.plan import Plan
from core.pruning.scores import lamp_scores

LEVELS = [round(0.1 * k, 1) for k in range(1, 10)]


@st.composite
def nets(draw, ties=True):
    """A few layers with exact scores, some constant, some all zero, and sensitivity curves for them."""
    layers, curves = [], {}
    for index in range(draw(st.integers(1, 5))):
        shape = draw(st.sampled_from([(1,), (3, 2), (4, 3, 3, 3), (8, 1, 3, 3), (16, 9), (1, 1, 1, 1)]))
        size = int(np.prod(shape))
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        kind = draw(st.sampled_from(["normal", "constant", "zero", "coarse"] if ties else ["normal"]))
        scores = {
            "normal": np.abs(rng.normal(size=size)),
            "constant": np.full(size, 0.3),
            "zero": np.zeros(size),
            "coarse": rng.integers(0, 3, size).astype(float),
        }[kind]
        dtype = draw(st.sampled_from([np.float32, np.float64]))
        layers.append(LayerScores(f"l{index}", shape, size, np.sort(scores.astype(dtype))))
        noise = rng.normal(0, 0.05, len(LEVELS))
        scale = draw(st.sampled_from([0.0, 0.1, 3.0]))
        curves[f"l{index}"] = [
            {"sparsity": level, "dloss": float(scale * level**3 + e)} for level, e in zip(LEVELS, noise, strict=True)
        ]
    return layers, {"layers": curves}


@pytest.mark.parametrize("name", list(ALLOCATIONS))
class TestEveryAllocation:
    @given(net=nets(), sparsity=st.floats(0.0, 0.99))
    def test_total_is_exact_and_no_layer_is_emptied(self, name, net, sparsity):
        layers, sensitivity = net
        plan = Plan(allocation=name, sparsity=sparsity)
        total = sum(layer.size for layer in layers)
        wanted = round(sparsity * total)
        if wanted > sum(layer.limit for layer in layers):
            with pytest.raises(PlanError, match="most that is possible"):
                allocate(layers, plan, sensitivity=sensitivity)
            return
        counts = allocate(layers, plan, sensitivity=sensitivity)
        assert sum(counts.values()) == wanted
        assert all(0 <= counts[layer.name] <= layer.size - 1 for layer in layers)
        assert counts == allocate(layers, plan, sensitivity=sensitivity)  # the same in two runs

    @given(net=nets(), sparsity=st.floats(0.0, 0.8), override=st.floats(0.0, 0.7))
    def test_overrides_and_protection(self, name, net, sparsity, override):
        layers, sensitivity = net
        if len(layers) < 3 or layers[0].limit < round(override * layers[0].size):
            return
        plan = Plan(allocation=name, sparsity=sparsity, overrides={"l0": override}, protected=("l1",))
        free = layers[2:]
        if round(sparsity * sum(x.size for x in free)) > sum(x.limit for x in free):
            return
        counts = allocate(layers, plan, sensitivity=sensitivity)
        assert counts["l0"] == round(override * layers[0].size)
        assert counts["l1"] == 0
        assert sum(counts[x.name] for x in free) == round(sparsity * sum(x.size for x in free))

    def test_quantile_tables_come_close_to_exact_scores(self, name):
        rng = np.random.default_rng(0)
        exact, tables, curves = [], [], {}
        for index, size in enumerate((432, 20_000, 60_000, 5_000)):
            scores = np.sort(np.abs(rng.normal(scale=0.01 * (index + 1), size=size)).astype(np.float32))
            shape = (size // 9, 1, 3, 3)
            exact.append(LayerScores(f"l{index}", shape, size, scores))
            table = np.quantile(scores, np.linspace(0, 1, 1025))
            tables.append(LayerScores(f"l{index}", shape, size, table if size > 4096 else scores))
            curves[f"l{index}"] = [{"sparsity": s, "dloss": (index + 1) * s**4} for s in LEVELS]
        plan, sensitivity = Plan(allocation=name, sparsity=0.8), {"layers": curves}
        a, b = (allocate(layers, plan, sensitivity=sensitivity) for layers in (exact, tables))
        assert sum(a.values()) == sum(b.values())
        for layer in exact:
            assert a[layer.name] / layer.size == pytest.approx(b[layer.name] / layer.size, abs=0.01)

    def test_rejects_unknown_layers_by_name(self, name):
        layers = [LayerScores("conv", (4, 3, 3, 3), 108, np.arange(108.0))]
        with pytest.raises(PlanError, match=r"“gone”.*prunable are “conv”"):
            allocate(layers, Plan(allocation=name, protected=("gone",)))


@given(net=nets(), sparsity=st.floats(0.0, 0.95))
def test_global_equals_one_stable_sort(net, sparsity):
    layers, _ = net
    remove = round(sparsity * sum(x.size for x in layers))
    if remove > sum(x.limit for x in layers):
        return
    owners = np.concatenate([np.full(x.limit, i) for i, x in enumerate(layers)])
    scores = np.concatenate([x.scores[: x.limit].astype(np.float64) for x in layers])
    chosen = owners[np.argsort(scores, kind="stable")[:remove]]
    expected = {x.name: int((chosen == i).sum()) for i, x in enumerate(layers)}
    assert allocate(layers, Plan(allocation="global", sparsity=sparsity)) == expected


@given(net=nets(ties=False))
def test_lamp_scores_are_the_formula(net):
    for layer in net[0]:
        weights = layer.scores.astype(np.float64)
        expected = [w**2 / np.sum(weights[weights >= w] ** 2) for w in weights]
        scored = lamp_scores(layer).scores
        np.testing.assert_allclose(scored, expected, rtol=1e-9)
        assert scored[-1] == 1.0


def test_erk_densities_follow_the_formula_where_nothing_is_clipped():
    shapes = [(64, 32, 3, 3), (128, 64, 3, 3), (256, 128)]
    layers = [LayerScores(str(s), s, int(np.prod(s))) for s in shapes]
    counts = allocate(layers, Plan(allocation="erk", sparsity=0.95))
    epsilon = [(1 - counts[x.name] / x.size) * x.size / sum(x.shape) for x in layers]
    np.testing.assert_allclose(epsilon, epsilon[0], rtol=0.01)


def test_erk_keeps_clipped_layers_dense_and_solves_again():
    layers = [LayerScores("small", (4, 3, 1, 1), 12), LayerScores("large", (512, 512, 3, 3), 512 * 512 * 9)]
    counts = allocate(layers, Plan(allocation="erk", sparsity=0.5))
    assert counts["small"] == 0
    assert sum(counts.values()) == round(0.5 * sum(x.size for x in layers))


def _smooth_net():
    sizes, scales = {"a": 10_000, "b": 40_000, "c": 20_000}, {"a": 8.0, "b": 1.0, "c": 3.0}
    fine = np.linspace(0.01, 0.99, 99)
    curves = {n: [{"sparsity": float(s), "dloss": float(scales[n] * s**2)} for s in fine] for n in sizes}
    return [LayerScores(n, (size,), size) for n, size in sizes.items()], scales, {"layers": curves}


@pytest.mark.parametrize("doubt", [0.0, 3.0])
def test_sensitivity_gives_equal_marginal_loss(doubt, monkeypatch):
    monkeypatch.setattr(pruning_curves, "DOUBT", doubt)
    layers, scales, sensitivity = _smooth_net()
    counts = allocate(layers, Plan(allocation="sensitivity", sparsity=0.4), sensitivity=sensitivity)
    share = {x.name: counts[x.name] / x.size for x in layers}
    total = sum(x.size for x in layers)
    kappa = doubt * sum(scale * 0.4**2 for scale in scales.values()) / -np.log(0.6)
    marginal = [2 * scales[x.name] * share[x.name] / x.size + kappa / total / (1 - share[x.name]) for x in layers]
    np.testing.assert_allclose(marginal, marginal[0], rtol=0.04)


def test_flat_curves_do_not_empty_a_layer():
    """Alone each of these layers can go without loss; together they cannot, and the doubt knows it."""
    layers = [LayerScores(str(k), (1000,), 1000) for k in range(10)]
    curves = {x.name: [{"sparsity": s, "dloss": 0.001 * (k % 2) * s} for s in LEVELS] for k, x in enumerate(layers)}
    counts = allocate(layers, Plan(allocation="sensitivity", sparsity=0.5), sensitivity={"layers": curves})
    assert max(counts.values()) < 700
    assert counts["0"] > counts["1"]  # the measured difference still counts


@given(net=nets(), sparsity=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_sensitivity_is_never_worse_than_another_split(net, sparsity, seed):
    """No random allocation of the same total has a smaller sum of the curves (up to whole weights)."""
    layers, sensitivity = net
    total = sum(x.size for x in layers)
    remove = round(sparsity * total)
    if remove > sum(x.limit for x in layers):
        return
    curves = [convex_curve(sensitivity["layers"][x.name]) for x in layers]
    curves = with_doubt(curves, [x.size for x in layers], remove / total) if remove else curves

    def cost(counts):
        return sum(np.interp(c / x.size, *xy) for c, x, xy in zip(counts, layers, curves, strict=True))

    best = allocate(layers, Plan(allocation="sensitivity", sparsity=sparsity), sensitivity=sensitivity)
    rng = np.random.default_rng(seed)
    rival = allocate(
        [LayerScores(x.name, x.shape, x.size, np.sort(rng.random(x.size))) for x in layers],
        Plan(allocation="global", sparsity=sparsity),
    )
    steepest = max((np.diff(y) / np.diff(x) / layer.size).max() for layer, (x, y) in zip(layers, curves, strict=True))
    assert cost(best.values()) <= cost(rival.values()) + 2 * len(layers) * steepest + 1e-9


@pytest.mark.parametrize("sensitivity", [None, {"estimated": True, "layers": {}}, {"layers": {"a": []}}])
def test_missing_curves_say_measure_first(sensitivity):
    with pytest.raises(PlanError, match=r"[Mm]easure sensitivity first"):
        allocate([LayerScores("a", (4,), 4)], Plan(allocation="sensitivity"), sensitivity=sensitivity)


def test_impossible_override_names_the_nearest_value():
    layers = [LayerScores("a", (2, 4), 8, np.arange(8.0))]
    with pytest.raises(PlanError, match=r"“a” must stay.*0\.875"):
        allocate(layers, Plan(overrides={"a": 0.99}))
    assert allocate(layers, Plan(overrides={"a": 0.875}))["a"] == 7


def test_nearest_possible_value_of_the_whole_is_possible():
    layers = [LayerScores(str(i), (3,), 3, np.arange(3.0)) for i in range(7)]
    with pytest.raises(PlanError, match="most that is possible is") as error:
        allocate(layers, Plan(allocation="global", sparsity=0.99))
    nearest = float(str(error.value).rsplit(" ", 1)[1].rstrip("."))
    assert sum(allocate(layers, Plan(allocation="global", sparsity=nearest)).values()) == 14


def test_a_layer_cannot_be_protected_and_overridden():
    layers = [LayerScores("a", (4,), 4, np.arange(4.0))]
    with pytest.raises(PlanError, match="both protected"):
        allocate(layers, Plan(overrides={"a": 0.5}, protected=("a",)))


@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_isotonic_is_monotone_keeps_the_mean_and_leaves_monotone_values(values):
    fitted = isotonic(np.array(values))
    assert np.all(np.diff(fitted) >= -1e-12)
    assert fitted.mean() == pytest.approx(np.mean(values), abs=1e-9)
    np.testing.assert_allclose(isotonic(np.sort(values)), np.sort(values))


@given(values=st.lists(st.floats(0, 5), min_size=2, max_size=12))
def test_lower_hull_is_convex_and_below(values):
    x, y = np.linspace(0, 1, len(values)), np.array(values)
    hull_x, hull_y = lower_hull(x, y)
    assert np.all(np.diff(np.diff(hull_y) / np.diff(hull_x)) >= -1e-9)
    assert np.all(np.interp(x, hull_x, hull_y) <= y + 1e-9)
    assert (hull_x[0], hull_x[-1]) == (0.0, 1.0)


def test_curves_survive_losses_that_were_not_finite():
    points = [{"sparsity": 0.5, "dloss": 0.2}, {"sparsity": 0.9, "dloss": None}]
    assert curve(points)[1][-1] == 10.0
    x, y = convex_curve(points)
    assert x[0] == 0.0
    assert x[-1] == 1.0
    assert np.all(np.isfinite(y))
    assert np.all(np.diff(np.diff(y) / np.diff(x)) >= -1e-9)


def test_global_over_five_million_exact_scores_is_quick():
    rng = np.random.default_rng(0)
    layers = [LayerScores(f"l{i}", (500_000,), 500_000, np.sort(rng.random(500_000, np.float32))) for i in range(10)]
    start = time.process_time()
    allocate(layers, Plan(allocation="global", sparsity=0.8))
    assert time.process_time() - start < 1.0
