"""Comb over one small model of each of timm's families (slow, some 15 minutes)."""

import gc
from typing import Any

import pytest
import torch

from core.errors import ModelError

from ..benchmarks.comb_coverage import passed
from ..benchmarks.coverage_rows import ours
from .timm_catalogue import TIMM

pytest.importorskip("timm")
pytestmark = pytest.mark.filterwarnings("ignore")

NOT_CAPTURED = {"sequencer2d_s": "lstm"}
"""Families that capture refuses, and the word that says why."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", TIMM)
def test_a_third_of_every_group_goes_exactly(name: str) -> None:
    torch.set_num_threads(1)
    row: dict[str, Any] = {}
    if name in NOT_CAPTURED:
        with pytest.raises(ModelError, match=NOT_CAPTURED[name]):
            ours(f"timm/{name}", row.update, onnx=False)
        return
    ours(f"timm/{name}", row.update, onnx=False)
    gc.collect()
    assert passed(row), row
    assert isinstance(row["zeroed"], str) or row["zeroed"] < 1e-5, row
