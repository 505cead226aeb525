"""Small networks with weights that were trained here, and the facts about them. Knows no torch.

``networks`` holds the architectures, ``train`` the script that reproduces the weights and the cards, ``scenes`` the
generator of the segmentation data.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from .scenes import CLASS_NAMES as SCENE_CLASSES

__all__ = ["FOLDER", "SAMPLES", "SampleInfo", "read_facts"]

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class SampleInfo:
    """One sample model: what it is, and what its card says that was measured."""

    name: str
    title: str
    task: Literal["classification", "segmentation"]
    data: str  # key of DATA_SOURCES
    input_shape: tuple[int, int, int]  # channels, height, width
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Size of the output's class dimension."""
        return len(self.class_names)

    @property
    def weights_file(self) -> Path:
        """The trained weights, a safetensors file."""
        return FOLDER / "weights" / f"{self.name}.safetensors"

    @property
    def card_file(self) -> Path:
        """The model card, Markdown with facts in its head."""
        return FOLDER / "cards" / f"{self.name}.md"

    @property
    def facts(self) -> dict[str, Any]:
        """What the card states: ``metric``, ``score``, ``low``, ``high``, ``n``, ``parameters``, ``mean``, ``std``, …

        Empty before the model was trained.
        """
        return read_facts(self.card_file) if self.card_file.exists() else {}


@cache
def read_facts(card: Path) -> dict[str, Any]:
    """The facts in the head of a model card: lines ``name: JSON value`` between two lines of dashes."""
    _, head, _ = card.read_text("utf-8").split("---\n", 2)
    pairs = (line.split(": ", 1) for line in head.splitlines())
    return {name: json.loads(value) for name, value in pairs}


_DIGITS = tuple(str(digit) for digit in range(10))

SAMPLES: dict[str, SampleInfo] = {
    info.name: info
    for info in (
        SampleInfo(
            "digits_resnet",
            "Residual network for handwritten digits",
            "classification",
            "digits",
            (1, 32, 32),
            _DIGITS,
        ),
        SampleInfo(
            "digits_vit",
            "Vision transformer for handwritten digits",
            "classification",
            "digits",
            (1, 32, 32),
            _DIGITS,
        ),
        SampleInfo(
            "scenes_fcn",
            "Segmentation network for scenes of digits",
            "segmentation",
            "scenes",
            (3, 64, 64),
            SCENE_CLASSES,
        ),
    )
}
