"""Contract of every schedule, one class over the registry."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError, RegistryError
from core.pruning.schedules import SCHEDULES, levels

FINALS = st.floats(0.0, 0.999)


@pytest.mark.parametrize("name", list(SCHEDULES))
class TestEverySchedule:
    @given(final=FINALS, steps=st.integers(1, 60))
    def test_ends_exactly_at_final(self, name, final, steps):
        reached = levels(name, final, steps)
        assert len(reached) == steps
        assert reached[-1] == final

    @given(final=FINALS, steps=st.integers(1, 60))
    def test_stays_between_zero_and_final(self, name, final, steps):
        assert all(0.0 <= level <= final for level in levels(name, final, steps))

    @given(final=FINALS)
    def test_starts_at_zero(self, name, final):
        assert SCHEDULES[name](0.0, final) == 0.0

    @given(final=FINALS, steps=st.integers(2, 60))
    def test_is_monotone_unless_cyclical(self, name, final, steps):
        reached = levels(name, final, steps)
        if name != "cyclical":
            assert all(a <= b for a, b in itertools.pairwise(reached))

    def test_menu_has_a_sentence(self, name):
        assert SCHEDULES.summary(name).endswith(".")


def test_cyclical_lets_weights_return():
    reached = levels("cyclical", 0.9, 40)
    falls = sum(a > b for a, b in itertools.pairwise(reached))
    assert falls >= 3


def test_known_values():
    assert levels("linear", 0.8, 4) == pytest.approx((0.2, 0.4, 0.6, 0.8))
    assert levels("cubic", 0.8, 2)[0] == pytest.approx(0.8 * (1 - 0.5**3))
    assert levels("exponential", 0.75, 2)[0] == pytest.approx(0.5)
    assert levels("one_shot", 0.5, 3) == (0.5, 0.5, 0.5)


def test_refuses_what_makes_no_sense():
    with pytest.raises(PlanError, match="below 1"):
        levels("linear", 1.0, 5)
    with pytest.raises(PlanError, match="at least one step"):
        levels("linear", 0.5, 0)
    with pytest.raises(RegistryError, match="known: one_shot"):
        levels("nope", 0.5, 5)
