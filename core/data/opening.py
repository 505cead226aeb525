"""From a specification, or a name, to Splits."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..progress import SILENT, Progress
from .fingerprint import fingerprint
from .folders import folders_below
from .raw import RawData, RawSplit
from .roots import cache_folder, data_root, data_roots, resolve_folder
from .sources import DATA_SOURCES, DataSource
from .specs import DataSpec

if TYPE_CHECKING:
    from .splits import Splits

__all__ = ["DATA_SOURCES", "open_data", "resolve_spec"]


def open_data(
    spec_or_name: DataSpec | str, *, root: str | Path | None = None, progress: Progress = SILENT, **fields: Any
) -> "Splits":
    """Read a data set: ``open_data("cifar10", root="data/cifar10")``, ``open_data(DataSpec(source="digits"))``.

    ``root`` and ``fields`` are fields of ``DataSpec`` and replace those of the specification.

    Raises:
        DataError: when the data are missing, damaged or make no data set; it says what to do.
        RegistryError: when there is no such source.
    """
    spec = spec_or_name if isinstance(spec_or_name, DataSpec) else DataSpec(source=spec_or_name)
    if root is not None:
        fields["root"] = str(root)
    if fields:
        spec = DataSpec.parse({**spec.model_dump(), **fields}, error=DataError)
    source = DATA_SOURCES[spec.source]
    spec, folder = resolve_spec(spec, source, progress=progress)
    data = source.read(spec, folder, progress=progress)
    splits = _as_splits(data, spec, progress)
    if spec.image_size is not None:  # sources of files have decoded at this size already
        splits = splits.fitted_to((splits.input_shape[0], *spec.image_size))
    return splits


def resolve_spec(spec: DataSpec, source: DataSource, *, progress: Progress = SILENT) -> tuple[DataSpec, Path | None]:
    """The specification with its folder made definite, and that folder; downloads when asked to.

    Without a folder in the specification, the data root and the download folder are searched. Below a data root the
    stored folder stays relative to it, so that the specification also works on another machine.
    """
    if not source.needs_folder:
        return spec, None
    base = data_root()
    if spec.root is not None:
        folder = resolve_folder(spec.root)
        if spec.download and source.can_download and not source.matches(folder):
            source.download(folder, progress=progress)
    else:
        found = _found(source)
        if found is None:
            if not (spec.download and source.can_download):
                raise DataError(_missing(source))
            found = base / source.key if base is not None and _writable(base) else cache_folder(source.key)
            source.download(found, progress=progress)
        folder = found
    if not folder.is_dir():
        raise DataError(f"{source.title} must lie in a folder; there is none at {folder}.")
    if base is not None and (folder == base or base in folder.parents):
        return spec.changed(root=folder.relative_to(base).as_posix()), folder
    return spec.changed(root=str(folder)), folder


def _found(source: DataSource) -> Path | None:
    below = [folder for base in data_roots() for folder in folders_below(base, source.matches)]
    candidates = [*below, cache_folder(source.key)]
    return next((folder for folder in candidates if folder.is_dir() and source.matches(folder)), None)


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def _missing(source: DataSource) -> str:
    bases = ", ".join(map(str, data_roots()))
    where = f"below the data root {bases}" if bases else "here (there is no data root)"
    how = "set “download”, or " if source.can_download else ""
    return f"{source.title} was not found {where}; {how}give the folder that holds it."


def _as_splits(data: RawData, spec: DataSpec, progress: Progress) -> "Splits":
    import torch

    from .splits import Split, Splits

    _, channels, height, width = data.splits["train"].images.shape
    mean, std = spec.mean or data.mean, spec.std or data.std
    _check_normalisation(mean, std, channels)
    _check_parts(data)
    identity = fingerprint(data, mean=mean, std=std, progress=progress)

    def wrap(part: RawSplit) -> Split:
        images = part.images
        return Split(
            images=torch.from_numpy(images) if isinstance(images, np.ndarray) else images,
            targets=torch.from_numpy(part.targets),
            mean=mean,
            std=std,
            augmentation=data.augmentation,
        )

    return Splits(
        train=wrap(data.splits["train"]),
        select=wrap(data.splits["select"]),
        test=wrap(data.splits["test"]),
        task=data.task,
        class_names=data.class_names,
        mean=mean,
        std=std,
        input_shape=(channels, height, width),
        fingerprint=identity,
        ignore_index=data.ignore_index,
        notes=data.notes,
        spec=spec,
    )


def _check_normalisation(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
    for name, values in (("mean", mean), ("standard deviation", std)):
        if len(values) != channels:
            raise DataError(
                f"The {name} must have one value per channel, so {channels}; got {len(values)}: {list(values)}."
            )
    if min(std) <= 0:
        raise DataError(f"Every standard deviation must be above 0; got {list(std)}.")
    if max(mean) > 1 or min(mean) < 0:
        raise DataError(
            f"Means must be on the scale 0 to 1 (pixels are divided by 255 first); got {list(mean)}. "
            "Divide them, and the deviations, by 255."
        )


def _check_parts(data: RawData) -> None:
    for name, split in data.splits.items():
        if len(split) == 0:
            raise DataError(f"Every split must have examples; {name} has none.")
    if len(data.class_names) < 2:
        raise DataError(
            f"There must be at least two classes to tell apart; the data have {len(data.class_names)}: "
            f"{', '.join(data.class_names) or 'none'}."
        )
