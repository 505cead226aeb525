"""scikit-learn's digits: 1,797 real scans of handwritten digits that come with the library."""

from functools import cache
from pathlib import Path

import numpy as np

from ...progress import SILENT, Progress
from ..division import divide, limited
from ..raw import RawData, RawSplit
from ..specs import DataSpec
from . import DATA_SOURCES
from .base import DataSource

__all__ = ["DIGITS_MEAN", "DIGITS_STD", "Digits", "digit_scans"]

# Of the training split, on a scale of 0 to 1; tests/data/test_digits.py checks them against the pixels.
DIGITS_MEAN = (0.305,)
DIGITS_STD = (0.324,)
SPLIT_SEED = 0
SIZE = 32


@cache
def digit_scans() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The scans in three fixed, stratified, disjoint parts: ``{"train": (images, labels), …}``.

    ``images``: uint8 ``[N, 32, 32]``, enlarged bilinearly from 8×8 with 17 grey levels, spread over 0–255;
    ``labels``: int64 ``[N]``. About 64 % train, 16 % select, 20 % test. The division is the same for everyone, so
    that the shipped sample models have never seen the select and test scans. (Writers are not known per scan: the
    same person may have written scans of several parts.)
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = digits.target.astype(np.int64)
    scans = np.round(digits.images * (255.0 / 16.0)).astype(np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(scan).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for scan in scans]
    )
    test, select, train = divide(labels, [0.2, 0.16], seed=SPLIT_SEED)
    return {name: (images[part], labels[part]) for name, part in (("train", train), ("select", select), ("test", test))}


class Digits(DataSource):
    """Handwritten digits (scikit-learn): 1,797 real scans as 32×32 images, no download, always the same split."""

    key = "digits"
    title = "Digits (no download)"
    needs_folder = False

    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """See ``DataSource.read``; needs no folder."""
        parts = {
            name: limited(RawSplit(images[:, None], labels), spec.limit)
            for name, (images, labels) in digit_scans().items()
        }
        return RawData(
            task="classification",
            class_names=tuple("0123456789"),
            splits=parts,
            mean=DIGITS_MEAN,
            std=DIGITS_STD,
            augmentation="shift",
        )


DATA_SOURCES.register(Digits.key)(Digits())
