"""The invariants of capture over every torchvision classification and segmentation model (slow, some 20 minutes)."""

import gc

import pytest
import torch

from .catalogue import CHECKS, check, names


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", names())
def test_capture(name: str) -> None:
    torch.set_num_threads(1)
    outcome = check(name)
    gc.collect()
    assert outcome.problems == []
    assert outcome.passed == list(CHECKS)
    assert outcome.captured_by == "symbolic"
