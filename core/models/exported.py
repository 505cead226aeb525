"""The second way of capture: ``torch.export``, for what the symbolic tracer cannot follow.

The exported program's flat ATen graph is a module with the original parameter names; the tracer runs it like any
other model, and ``modularise`` gives the layers back. Some 20 times slower than the symbolic way.
"""

import logging
import warnings
from typing import Any

import torch
from torch import nn

from .recording import Untraceable

__all__ = ["export_module"]


def export_module(module: nn.Module, input_shape: tuple[int, int, int], *, functional: bool) -> nn.Module:
    """The model as a flat graph of ATen operations, batch size free.

    Args:
        module: the model, in eval mode.
        input_shape: (C, H, W).
        functional: rewrite in-place work, which also drops dropout from the graph.

    Raises:
        Untraceable: with torch.export's own reason, shortened.
    """
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(()))
    example = torch.zeros((2, *input_shape), dtype=like.dtype, device=like.device)
    batch: Any = torch.export.Dim("batch", min=1)
    quiet = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},), strict=False)
            if functional:
                program = program.run_decompositions({})  # no decomposition: in-place work is all that goes
            return program.module(check_guards=False)
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise Untraceable(f"torch.export fails too: {type(error).__name__}: {reason[:200]}") from error
    finally:
        quiet.setLevel(level)
