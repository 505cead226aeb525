"""Does an ONNX file compute what PyTorch computes? Real images through both, at several batch sizes."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from ..models.eval_mode import eval_mode
from ..progress import SILENT, Progress
from .onnx_session import onnx_session

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["ABSOLUTE_TOLERANCE", "RELATIVE_TOLERANCE", "compare_with_pytorch", "parity_images"]

RELATIVE_TOLERANCE: Final = 1e-4
ABSOLUTE_TOLERANCE: Final = 1e-5
"""A file passes when no logit differs by more than 1e-5 + 1e-4 × the largest logit: rounding, not another function.

Seen over 16 untrained torchvision networks: at most 3e-6 × the largest logit.
"""


def parity_images(model: "TracedModel", splits: "Splits | None", *, count: int) -> tuple[Tensor, str]:
    """``count`` normalised images [n, C, H, W] from the test split (fewer when it is smaller), or seeded noise."""
    if splits is None:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(count, *model.input_shape, generator=generator), "noise"
    batches = [x for x, _ in splits.test.batches(count, limit=count)]
    return torch.cat(batches).to("cpu", torch.float32), "test split"


def _cuts(total: int, batch_sizes: Sequence[int]) -> Iterator[slice]:
    """Slices that walk through ``total`` examples in turns of the batch sizes; every one is used at least once."""
    start = 0
    for size in cycle(batch_sizes):
        if start + size > total:
            break
        yield slice(start, start + size)
        start += size


def compare_with_pytorch(
    model: "TracedModel", path: Path, images: Tensor, *, batch_sizes: Sequence[int], progress: Progress = SILENT
) -> dict[str, Any]:
    """Logits of ONNX Runtime against PyTorch's over ``images`` [n, C, H, W].

    Returns:
        n, max_abs_difference, relative_difference (to the largest logit), tolerance (absolute, that was applied),
        top1_agreement (share of images, or of pixels for segmentation, with the same class), problems (in words), and
        comparable: False when PyTorch's own logits are not finite, so that no file could agree.
    """
    result: dict[str, Any] = {"n": 0, "max_abs_difference": None, "relative_difference": None, "tolerance": None}
    result |= {"top1_agreement": None, "problems": [], "comparable": True}
    if len(images) < sum(batch_sizes):
        images = images.repeat(-(-sum(batch_sizes) // len(images)), 1, 1, 1)
    try:
        session = onnx_session(path)
        name = session.get_inputs()[0].name
        pairs = []
        with eval_mode(model.graph_module), torch.inference_mode():
            for cut in _cuts(len(images), batch_sizes):
                progress.check()
                batch = images[cut].contiguous()
                (other,) = session.run(None, {name: batch.numpy()})
                pairs.append((model.predict(batch).numpy(), other))
    except ImportError:
        missing = "ONNX Runtime is not installed (pip install onnxruntime): the file was not compared with PyTorch."
        return result | {"problems": [missing]}
    except Exception as problem:
        if type(problem).__module__.startswith("onnxruntime"):
            first = str(problem).splitlines()[0][:300]
            return result | {"problems": [f"ONNX Runtime cannot run the file: {first}"]}
        raise
    return result | _differences(pairs)


def _differences(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    if any(ours.shape != other.shape for ours, other in pairs):
        return {"problems": [f"The file returns the shape {pairs[0][1].shape} instead of {pairs[0][0].shape}."]}
    n = sum(len(ours) for ours, _ in pairs)
    if not all(np.isfinite(ours).all() for ours, _ in pairs):
        problems = ["The network itself returns numbers that are not finite (NaN or infinity)."]
        return {"n": n, "problems": problems, "comparable": False}
    if not all(np.isfinite(other).all() for _, other in pairs):
        return {"n": n, "problems": ["ONNX Runtime returns numbers that are not finite where PyTorch's are."]}
    difference = max(float(np.abs(ours - other).max()) for ours, other in pairs)
    scale = max(float(np.abs(ours).max()) for ours, _ in pairs)
    same = sum(int((ours.argmax(1) == other.argmax(1)).sum()) for ours, other in pairs)
    tolerance = ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * scale
    problems = []
    if difference > tolerance:
        problems.append(
            f"ONNX Runtime differs from PyTorch by up to {difference:.2g}, more than the allowed {tolerance:.2g}."
        )
    return {
        "n": n,
        "max_abs_difference": difference,
        "relative_difference": difference / scale if scale else 0.0,
        "tolerance": tolerance,
        "top1_agreement": same / sum(ours.argmax(1).size for ours, _ in pairs),
        "problems": problems,
    }
