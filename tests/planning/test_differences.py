"""What changed from one plan to another, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.methods import METHODS
from core.planning.differences import plan_differences
from core.pruning.plan import Plan

LAYERS = st.sampled_from(["a", "b", "c", "d", "e"])
PLANS = st.builds(
    Plan,
    sparsity=st.sampled_from([0.0, 0.5, 0.8125]),
    allocation=st.sampled_from(["lamp", "uniform"]),
    overrides=st.dictionaries(LAYERS, st.sampled_from([0.1, 0.9])),
    patterns=st.dictionaries(LAYERS, st.sampled_from(["2:4", "1:4"])),
    protected=st.lists(LAYERS, unique=True).map(tuple),
    start=st.sampled_from(["", "f" * 16]),
    seed=st.integers(0, 2),
    name=st.sampled_from(["", "x"]),
)


@given(PLANS, PLANS)
def test_nothing_is_said_exactly_of_plans_that_do_the_same(one, other):
    same = one.changed(name="", protected=tuple(sorted(one.protected))) == other.changed(
        name="", protected=tuple(sorted(other.protected))
    )
    said = plan_differences(one, other)
    assert (not said) == same
    assert all(sentence.endswith(".") for sentence in said)
    assert len(plan_differences(other, one)) == len(said) or any("longer" in word or "Newly" in word for word in said)


def test_everything_is_named():
    before = Plan(sparsity=0.5, overrides={"a": 0.1, "b": 0.2}, protected=("c",))
    after = Plan(sparsity=0.875, allocation="uniform", overrides={"b": 0.4}, patterns={"a": "2:4"}, seed=3)
    assert plan_differences(before, after) == [
        "Sparsity: 50 % → 87.5 %.",
        "Allocation: lamp → uniform.",
        "Seed: 0 → 3.",
        "No longer fixed: a.",
        "Otherwise fixed: b 20 % → 40 %.",
        "Newly given a pattern: a (2:4).",
        "No longer protected: c.",
    ]


def test_many_names_are_counted():
    after = Plan(overrides={f"layer{number}": 0.5 for number in range(9)})
    assert plan_differences(Plan(), after) == ["Newly fixed: layer0 (50 %), layer1 (50 %), layer2 (50 %) and 6 more."]


def test_settings_are_named_as_the_form_names_them():
    before = Plan(method="cpd", method_settings={"tune": {"epochs": 40}})
    after = Plan(method="cpd", method_settings={"tune": {"epochs": 20}, "round_to": 8})
    assert plan_differences(before, after) == ["Round channels to: 4 → 8.", "Fine-tuning › Epochs at most: 40 → 20."]
    assert plan_differences(before, before.changed(method_settings={"tune": {"epochs": 40}, "round_to": 4})) == []


@pytest.mark.parametrize("method", list(METHODS))
def test_defaults_written_out_are_no_difference(method):
    written = Plan(method=method, method_settings=METHODS[method].Settings().to_json())
    assert plan_differences(Plan(method=method), written) == []


def test_settings_that_cannot_be_read_are_different():
    strange = Plan(method="cpd", method_settings={"colour": "green"})
    assert plan_differences(Plan(method="cpd"), strange) == ["The settings of the method are different."]
    assert plan_differences(Plan(method="magic"), Plan(method="lost"))
