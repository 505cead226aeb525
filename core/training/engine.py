"""Lightning Fabric as the engine: device and precision are arguments. Imported with the first run (3 s of CPU time)."""

import logging
import warnings
from typing import TYPE_CHECKING, Any, Literal

import torch

from ..errors import PlanError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Precision", "bf16_helps", "chosen_precision", "make_fabric"]

Precision = Literal["fp32", "bf16"]
_FABRIC_NAMES = {"fp32": "32-true", "bf16": "bf16-mixed"}


def bf16_helps(device: torch.device) -> bool:
    """Whether bf16 is faster there: CUDA that has it, and processors with AMX tiles (1.5 to 2 times on ResNet-20)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def chosen_precision(wanted: str, device: torch.device) -> Precision:
    """What ``TrainingSettings.precision`` means on this device.

    Raises:
        PlanError: when bf16 was asked for by name on a device that cannot compute with it.
    """
    if wanted == "auto":
        return "bf16" if bf16_helps(device) else "fp32"
    if wanted == "bf16" and device.type not in ("cpu", "cuda"):
        raise PlanError(f"bf16 works on processors and CUDA devices, not on “{device.type}”: choose fp32 or auto.")
    return "bf16" if wanted == "bf16" else "fp32"


def make_fabric(device: torch.device, precision: Precision) -> "Fabric":
    """A silent Fabric for one device."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # after the import, which sets it to INFO
    devices: Any = 1 if device.index is None else [device.index]
    if device.type == "cpu":
        devices = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about other devices of the machine
        return Fabric(accelerator=device.type, devices=devices, precision=_FABRIC_NAMES[precision])  # type: ignore[arg-type]
