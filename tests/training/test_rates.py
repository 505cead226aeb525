"""The learning rate over a stage."""

import itertools

import pytest

from core.training.rates import learning_rate
from core.training.settings import StageSettings


def rates(**fields):
    settings = StageSettings(learning_rate=0.4, epochs=10, **fields)
    return [learning_rate(settings, step, steps_per_epoch=5) for step in range(50)]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_warm_up_grows_to_the_full_rate_and_then_the_schedule_begins(schedule):
    plain = learning_rate(StageSettings(learning_rate=0.4, schedule=schedule), 0, steps_per_epoch=5)
    warmed = rates(schedule=schedule, warmup_epochs=2.0)
    assert plain == 0.4
    assert 0 < warmed[0] < warmed[4] < warmed[9] < warmed[10] == 0.4
    assert all(later <= earlier for earlier, later in itertools.pairwise(warmed[10:]))


def test_shapes():
    cosine, step, constant = (rates(schedule=name) for name in ("cosine", "step", "constant"))
    assert cosine[25] == pytest.approx(0.2)
    assert 0 < cosine[-1] < 0.001
    assert (step[24], step[25], step[37], step[38]) == pytest.approx((0.4, 0.04, 0.04, 0.004))
    assert set(constant) == {0.4}


def test_a_warm_up_longer_than_the_stage_never_reaches_it():
    assert max(rates(warmup_epochs=100.0)) < 0.4


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_a_held_rate_keeps_the_schedule_for_the_steps_after_it(schedule):
    held, plain = rates(schedule=schedule, hold=0.5), rates(schedule=schedule)
    assert held[:25] == [0.4] * 25
    assert held[25::5] == pytest.approx(plain[::10])
    assert rates(schedule=schedule, hold=0.1, warmup_epochs=2.0) == rates(schedule=schedule, warmup_epochs=2.0)
