"""What stayed though it could have gone, per saved cost."""

from types import SimpleNamespace as Made

import numpy as np

from core.training.alternatives import cheapest_left

SHEET = Made(groups=[Made(name="a", width=1), Made(name="b", width=1), Made(name="heads", width=4)])
SCORES = {"a": np.array([1.0, 2.0, 3.0, 4.0]), "b": np.array([5.0, 6.0, 7.0, 8.0]), "heads": np.array([40.0, 1.0])}


def cheapest(removal=None, saving=None, **limits):
    fields = {"round_to": 2, "least": {}, "closed": ()} | limits
    return cheapest_left(SHEET, SCORES, removal or {}, saving or {}, **fields)


def test_the_next_step_of_the_cheapest_group_counts():
    assert cheapest() == 1.0, "a head is four channels wide: one is a step"
    assert cheapest(closed=("heads",)) == 1.5
    assert cheapest({"a": [0]}, closed=("heads",)) == 2.5
    assert cheapest({"a": [0, 1]}, closed=("heads",)) == 5.5, "one step more would leave none of a"


def test_costs_are_per_saved_unit_and_limits_hold():
    assert cheapest(saving={"b": 11.0}, closed=("heads",)) == 0.5
    assert cheapest(least={"a": 3, "b": 3}, closed=("heads",)) is None
    assert cheapest(closed=("a", "b", "heads")) is None
