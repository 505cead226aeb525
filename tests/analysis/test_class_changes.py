"""Which classes paid: exact differences, intervals that do not shout."""

import numpy as np
import pytest

from core.analysis.class_changes import class_changes
from core.errors import MeasurementError
from tests.dashboard.seeding import evaluation_of, segmentation_of


def test_every_class_has_its_exact_difference_most_lost_first():
    for make in (lambda e: evaluation_of(e, seed=0, split="test"), lambda e: segmentation_of(1 - e, split="test")):
        dense, variant = make(0.02), make(0.3)
        found = class_changes(dense, variant)
        assert [change.difference for change in found] == sorted(change.difference for change in found)
        assert {change.label for change in found} == set(range(10))
        for change in found:
            assert change.dense == pytest.approx(dense.per_class[change.label])
            assert change.variant == pytest.approx(variant.per_class[change.label])
            assert change.low is not None
            assert change.high is not None
            assert change.low <= change.difference <= change.high
        assert any(change.differs for change in found)


def test_the_same_model_changes_no_class():
    for one in (evaluation_of(0.1, seed=0, split="test"), segmentation_of(0.9, split="test")):
        assert not any(change.differs or change.difference for change in class_changes(one, one))


def test_noise_among_many_classes_is_not_called_a_change():
    """Two models whose errors are independent but equally many: false alarms over all classes stay rare."""
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        dense, variant = (evaluation_of(0.1, seed=0, split="test") for _ in range(2))
        for one in (dense, variant):
            object.__setattr__(one, "correct", rng.uniform(size=one.n) > 0.1)
        alarms += any(change.differs for change in class_changes(dense, variant))
    assert alarms <= 7


def test_other_images_are_refused():
    with pytest.raises(MeasurementError, match="same images"):
        class_changes(evaluation_of(0.1, seed=0, split="test"), segmentation_of(0.9, split="test"))
