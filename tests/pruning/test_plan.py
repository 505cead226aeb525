"""The plan as a file: round trip, versions, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError
from core.pruning.plan import PLAN_VERSION, Plan

NAMES = st.text(min_size=1, max_size=20)


@given(
    sparsity=st.floats(0, 0.999),
    overrides=st.dictionaries(NAMES, st.floats(0, 0.999), max_size=4),
    protected=st.lists(NAMES, max_size=4),
    name=st.text(max_size=120),
)
def test_survives_its_file(sparsity, overrides, protected, name):
    plan = Plan(sparsity=sparsity, overrides=overrides, protected=tuple(protected), name=name)
    assert Plan.from_text(plan.to_text()) == plan
    assert Plan.from_text(plan.to_text().encode()) == plan
    assert len(set(plan.protected)) == len(plan.protected)


def test_a_newer_plan_is_named_as_such_even_with_unknown_fields():
    body = Plan().to_json() | {"version": PLAN_VERSION + 1, "colour": "green"}
    with pytest.raises(
        PlanError, match=f"made with plan version {PLAN_VERSION + 1}.*reads up to version {PLAN_VERSION}"
    ):
        Plan.from_text(json.dumps(body))


@pytest.mark.row("B33")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\udcff".encode("utf-8", "surrogatepass"), "not JSON"),
        ("[1]", "JSON object"),
        ('{"sparsity": 1.0}', "“sparsity”"),
        ('{"sparsity": NaN}', "“sparsity”"),
        ('{"sparsity": "0,5"}', "“sparsity”"),
        ('{"overrides": {"conv": 1.0}}', "conv must be at least 0 and below 1"),
        ('{"overrides": {"conv": NaN}}', "“overrides"),
        ('{"colour": "green"}', "“colour”"),
        ('{"version": 0}', "“version”"),
        (" " * 5_000_000, "at most"),
    ],
    ids=range(12),
)
def test_refuses_what_is_no_plan(text, message):
    with pytest.raises(PlanError, match=message):
        Plan.from_text(text)
