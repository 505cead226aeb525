"""Making data and a model fit each other, or saying why they cannot. ``core.fit_data`` for scripts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.fingerprint import refined
from ..data.specs import DataSpec
from ..errors import DataError
from ..progress import SILENT, Progress

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = ["check_fit", "fit_data", "open_fitting_data", "viewed"]


def open_fitting_data(spec: DataSpec, model: "TracedModel | None", *, progress: Progress = SILENT) -> "Splits":
    """Read data as a model needs them; what the specification says itself is kept.

    Raises:
        DataError: when the data cannot be read, or do not fit the model.
    """
    from ..data.opening import DATA_SOURCES, open_data

    source = DATA_SOURCES[spec.source]
    if model is not None:
        _check_task(source.task, model.task)  # before anything is read or downloaded
    if model is not None and spec.image_size is None and "image_size" in source.fields:
        # Files of many sizes are decoded once, at the size that the model takes.
        spec = spec.changed(image_size=tuple(model.input_shape[1:]))
    splits = open_data(spec, progress=progress)
    if model is None:
        return splits
    return fit_data(splits, model, normalise=spec.mean is None and spec.std is None)


def fit_data(splits: "Splits", model: "TracedModel", *, normalise: bool = True) -> "Splits":
    """``splits`` with the channels, the size and (``normalise``) the normalisation that the model's weights expect.

    Nothing is copied: batches are converted as they are made, and ``notes`` say what was done.

    Raises:
        DataError: when tasks or classes differ, or the channels cannot be converted.
    """
    check_fit(splits, model)
    fitted = splits.fitted_to(model.input_shape)
    mean, std = model.origin.get("mean"), model.origin.get("std")
    if normalise and mean and std:
        fitted = _normalised(fitted, mean, std)
    return fitted


def check_fit(splits: "Splits", model: "TracedModel") -> None:
    """See that the model answers the question that the data ask.

    Raises:
        DataError: when the task or the number of classes differs; it says what to open instead.
    """
    _check_task(splits.task, model.task)
    if splits.num_classes != model.num_classes:
        raise DataError(
            f"The model tells {model.num_classes} classes apart, the data have {splits.num_classes}. Choose other "
            f"data, or open the model with {splits.num_classes} classes (random weights, or a checkpoint with as many)."
        )


def _check_task(data_task: str, model_task: str) -> None:
    if data_task != model_task:
        raise DataError(
            f"The model is for {model_task}, the data are labelled for {data_task}; choose a model and data of the "
            "same task."
        )


def viewed(splits: "Splits", view: dict[str, Any]) -> "Splits":
    """Splits that were just read, shown as ``view`` says (``input_shape``, ``mean``, ``std`` of ``Splits.describe``).

    The steps are those of ``fit_data``, so that the fingerprint is the one that it had then.
    """
    channels, height, width = view["input_shape"]
    return _normalised(splits.fitted_to((channels, height, width)), view["mean"], view["std"])


def _normalised(splits: "Splits", mean: Sequence[float], std: Sequence[float]) -> "Splits":
    channels = splits.input_shape[0]
    if len(mean) != channels or len(std) != channels:
        raise DataError(
            f"The model's normalisation has {len(mean)} channels and its input {channels}; give mean and standard "
            "deviation with the data."
        )
    new_mean, new_std = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    if (new_mean, new_std) == (splits.mean, splits.std):
        return splits
    shown = ", ".join(f"{value:.3g}" for value in new_mean)
    return replace(
        splits,
        train=replace(splits.train, mean=new_mean, std=new_std),
        select=replace(splits.select, mean=new_mean, std=new_std),
        test=replace(splits.test, mean=new_mean, std=new_std),
        mean=new_mean,
        std=new_std,
        fingerprint=refined(splits.fingerprint, {"mean": new_mean, "std": new_std}),
        notes=(*splits.notes, f"Images are normalised as the model's weights expect (mean {shown})."),
    )
