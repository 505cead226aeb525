"""Comb over every torchvision classification and segmentation model (slow, some 20 minutes)."""

import gc

import pytest
import torch

from .catalogue import names
from .comb_catalogue import EXPORTED, check_comb

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", names())
def test_a_third_of_every_group_goes_exactly(name: str) -> None:
    torch.set_num_threads(1)
    outcome = check_comb(name, onnx=name in EXPORTED)
    gc.collect()
    assert outcome.problems == []
