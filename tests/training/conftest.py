"""Fabric is imported once here, so that no single test pays for it."""

import pytest

from core.training.settings import StageSettings, TrainingSettings

from ..pruning.data import random_splits
from ..pruning.networks import mixed


@pytest.fixture(scope="package")
def model():
    return mixed()


@pytest.fixture(scope="package")
def splits(model):
    return random_splits(model)


@pytest.fixture
def training():
    return TrainingSettings(batch_size=16, precision="fp32")


@pytest.fixture
def stage():
    return StageSettings(epochs=3, learning_rate=0.05)
