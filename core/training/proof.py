"""A removal in mid-run that is proved before training goes on."""

from typing import TYPE_CHECKING

import torch

from ..comb.groups import Comb
from ..comb.verify import Verification, verify
from ..errors import TrainingError
from ..pruning.groups.budget import Removal

if TYPE_CHECKING:
    from .loop import Run

__all__ = ["remove_proved"]


def remove_proved(run: "Run", found: Comb, removal: Removal) -> Verification:
    """Remove units from the network that trains, and compare it with the larger one without them.

    Two random images do: the comparison holds for any.

    Raises:
        TrainingError: when they differ; a run never goes on with a wrong network.
    """
    run.remove_units(found, removal)
    draw = torch.Generator().manual_seed(run.plan.seed)
    images = torch.randn((2, *run.model.input_shape), generator=draw).to(run.device)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        proof = verify(found, removal, run.model, images)
    if not proof.passed:
        raise TrainingError(f"{proof.sentence} The run was stopped at step {run.step}; please report this model.")
    return proof
