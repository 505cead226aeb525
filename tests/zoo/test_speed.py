"""Tracing is quick enough to wait for: CPU time on one core, the process warm (slow: run on a quiet machine)."""

import time

import pytest
import torch
import torchvision

from core.models.capture import trace


@pytest.mark.slow
@pytest.mark.parametrize(("name", "limit_s"), [("resnet50", 1.0), ("swin_t", 3.0)])
def test_tracing_time(name: str, limit_s: float) -> None:
    torch.set_num_threads(1)
    trace(torchvision.models.resnet18(), (3, 32, 32))
    module = torchvision.models.get_model(name, weights=None)
    started = time.process_time()
    trace(module, (3, 224, 224))
    assert time.process_time() - started < limit_s
