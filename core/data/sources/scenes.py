"""Scenes composed from the digit scans: a segmentation data set that needs no download."""

from functools import cache
from pathlib import Path

import numpy as np

from ...progress import SILENT, Progress
from ..division import limited
from ..raw import RawData, RawSplit
from ..specs import DataSpec
from . import DATA_SOURCES
from .base import DataSource
from .digits import digit_scans

__all__ = ["SCENE_COUNTS", "Scenes"]

SIZE = 64
# Count and seed of each split: different scenes, composed of different scans.
SCENE_COUNTS = {"train": 2000, "select": 400, "test": 500}
SEEDS = {"train": 0, "select": 1, "test": 2}
# Of the training split, on a scale of 0 to 1; tests/data/test_scenes.py checks them against the pixels.
SCENES_MEAN = (0.47, 0.47, 0.47)
SCENES_STD = (0.24, 0.24, 0.24)


@cache
def _composed(part: str) -> tuple[np.ndarray, np.ndarray]:
    from sample_models.scenes import make_scenes

    scans, labels = digit_scans()[part]
    return make_scenes(scans, labels, count=SCENE_COUNTS[part], size=SIZE, seed=SEEDS[part])


class Scenes(DataSource):
    """Scenes of digits: 64×64 segmentation pictures composed from real scans, no download, always the same split."""

    key = "scenes"
    title = "Scenes of digits (no download)"
    task = "segmentation"
    needs_folder = False

    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """See ``DataSource.read``; needs no folder. Train, select and test are composed from disjoint scans."""
        from sample_models.scenes import CLASS_NAMES

        parts = {}
        for done, part in enumerate(SCENE_COUNTS):
            progress.check()
            progress.update(done, len(SCENE_COUNTS), f"Composing the {part} scenes")
            parts[part] = limited(RawSplit(*_composed(part)), spec.limit)
        return RawData(
            task="segmentation",
            class_names=CLASS_NAMES,
            splits=parts,
            mean=SCENES_MEAN,
            std=SCENES_STD,
        )


DATA_SOURCES.register(Scenes.key)(Scenes())
