"""Open a model and data in a session: trace, describe, fit, measure the dense model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.specs import DataSpec
from ...errors import CheckpointError, DataError, ModelError, StoreError
from ...models.checkpoint_files import shown
from ...models.specs import ModelSpec
from ...progress import Progress
from ...reach import reachable
from ...store import Dataset, Model, Session, Variant
from ...wording import percent
from . import JobContext, job_kind

if TYPE_CHECKING:
    from ...data.splits import Splits
    from ...models.traced import TracedModel

_STEPS = 6


@job_kind("open")
def open_session_parts(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Open a model, data or both; with both in the session, evaluate the dense model as its first variant.

    Payload: ``model`` (ModelSpec as JSON, or None), ``data`` (DataSpec as JSON, or None); what is None stays as the
    session has it. ``upload``: what the person calls the checkpoint, which is stored without its name. Result:
    ``model_id``, ``data_id``, ``dense_variant_id`` (None while a part is missing), ``notes``.
    """
    from .. import loading

    store = context.workspace.store
    if context.session_id is None:
        raise StoreError("Opening needs a session; create one first.")
    session = store.get_session(context.session_id)
    model_spec = ModelSpec.parse(payload["model"], error=ModelError) if payload.get("model") else None
    data_spec = DataSpec.parse(payload["data"], error=DataError) if payload.get("data") else None
    if model_spec is None and data_spec is None:
        raise StoreError("Choose a model or data to open.")

    model: TracedModel | None = None
    model_row: Model | None = None
    if model_spec is not None:
        try:
            model, model_row = _open_model(model_spec, context)
        except CheckpointError as error:
            raise CheckpointError(_as_called(str(error), model_spec, payload.get("upload"))) from None
    elif session.model_id is not None:
        model_row = store.get_model(session.model_id)
        model = loading.load_model(context.workspace, model_row.artifact)

    splits: Splits | None = None
    data_row: Dataset | None = None
    if data_spec is not None or (session.data_id is not None and model_spec is not None):
        spec = data_spec or DataSpec.parse(store.get_dataset(session.data_id or "").spec, error=DataError)
        splits, data_row = _open_data(spec, model, context)

    _check_unmixed(session, store.variants(session.id), model_row, data_row)
    if model_row is not None:
        store.set_session_model(session.id, model_row.id)
    if data_row is not None:
        store.set_session_data(session.id, data_row.id)
    notes = list(splits.notes) if splits is not None else []
    dense: Variant | None = None
    if model is not None and model_row is not None and splits is not None and data_row is not None:
        dense, more = _dense_variant(model, splits, model_row, data_row, context)
        notes += more
    return {
        "model_id": model_row.id if model_row else None,
        "data_id": data_row.id if data_row else None,
        "dense_variant_id": dense.id if dense else None,
        "notes": notes,
    }


def _open_model(spec: ModelSpec, context: JobContext) -> tuple["TracedModel", Model]:
    from ...models.opening import open_model
    from .. import loading
    from ..describing import store_model

    progress = context.progress
    artifacts = context.workspace.artifacts
    if spec.checkpoint is not None:  # an upload, or a file that this server offers
        spec = spec.changed(checkpoint=str(reachable(spec.checkpoint, artifacts.root, error=CheckpointError)))
    progress.update(0, _STEPS, "Building and tracing the model")
    model = open_model(spec, progress=_Checking(progress))
    progress.update(1, _STEPS, "Describing the layers")
    row = store_model(context.workspace, model, name=spec.name, spec=spec.to_json(), progress=progress)
    loading.keep_model(row.artifact, model)
    return model, row


def _as_called(sentence: str, spec: ModelSpec, upload: str | None) -> str:
    """The sentence with the name that the person gave the checkpoint instead of the one that it is stored under."""
    if upload is None or spec.checkpoint is None:
        return sentence
    return sentence.replace(shown(Path(spec.checkpoint).name), shown(upload))


def _open_data(spec: DataSpec, model: "TracedModel | None", context: JobContext) -> tuple["Splits", Dataset]:
    from .. import loading
    from ..matching import open_fitting_data

    context.progress.update(2, _STEPS, "Reading the data")
    splits = open_fitting_data(spec, model, progress=_Checking(context.progress))
    loading.keep_data(splits)
    description = splits.describe()
    row = context.workspace.store.add_dataset(
        id=splits.fingerprint,
        name=_data_name(splits.spec),
        spec=splits.spec.to_json(),
        description=description,
    )
    return splits, row


def _data_name(spec: DataSpec) -> str:
    """What people call it, and the folder it came from: two folders of images should not look the same."""
    from ...data.opening import DATA_SOURCES

    title = DATA_SOURCES[spec.source].title
    folder = Path(spec.root).name if spec.root else ""
    return f"{title} ({folder})" if folder else title


def _check_unmixed(session: Session, variants: list[Variant], model: Model | None, data: Dataset | None) -> None:
    """A session compares variants of one model on the same data; another model or other data need another session."""
    model_id = model.id if model else session.model_id
    data_id = data.id if data else session.data_id
    if any(variant.model_id != model_id or variant.data_id != data_id for variant in variants):
        raise StoreError(
            "This session already has variants of another model or of other data; open the new ones in a new session."
        )


def _dense_variant(
    model: "TracedModel", splits: "Splits", model_row: Model, data_row: Dataset, context: JobContext
) -> tuple[Variant, list[str]]:
    from ..measuring import measured_variant

    store = context.workspace.store
    for variant in store.variants(context.session_id or ""):
        if variant.plan is None:
            return variant, []
    context.progress.update(3, _STEPS, "Evaluating the dense model")
    measured = measured_variant(model, splits, workspace=context.workspace, progress=_Checking(context.progress))
    context.progress.update(_STEPS, _STEPS, "Storing")
    variant = store.add_variant(
        session_id=context.session_id or "",
        name="dense",
        model_id=model_row.id,
        data_id=data_row.id,
        job_id=context.job_id,
        artifact=model_row.artifact,
        layers=_untouched_layers(model),
        **measured,
    )
    metrics = measured["metrics"]
    return variant, [*_chance_note(metrics["test"], splits), *_familiar_note(metrics["select"], metrics["test"])]


def _untouched_layers(model: "TracedModel") -> list[dict[str, Any]]:
    """What-went-where of a model of which nothing went."""
    import torch

    from ...pruning.masks import mask_statistics

    weights = {name: module.get_parameter("weight") for name, module in model.prunable().items()}
    return mask_statistics(
        model, {name: weight.new_ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()}
    )


def _chance_note(test: Mapping[str, Any], splits: "Splits") -> list[str]:
    """Accuracy at chance is more often a wrong normalisation or class order than a bad model."""
    chance = 1.0 / splits.num_classes
    if test["metric"] == "accuracy" and test["score"] is not None and (test["low"] or 0.0) <= chance:
        return [
            f"The dense model is at chance on the test images ({percent(test['score'])}, chance {percent(chance)}): "
            "are its weights trained, and are normalisation and class order those it was trained with?"
        ]
    return []


def _familiar_note(select: Mapping[str, Any], test: Mapping[str, Any]) -> list[str]:
    """Images that a model was trained on do not tell which plan is better: everything looks right on them."""
    if None in (select["low"], test["high"]) or select["low"] <= test["high"]:
        return []
    return [
        f"The model knows the selection images: {percent(select['score'])} there, {percent(test['score'])} on the test "
        "images. It was probably trained on them, so sensitivity and plans look better than they are: trust figures of "
        "the test split."
    ]


class _Checking(Progress):
    """Passes on cancelling and waiting, not the inner steps' own counts: one bar runs over all steps."""

    def __init__(self, outer: Progress) -> None:
        self._outer = outer

    def update(self, done: float, total: float, message: str = "") -> None:
        self._outer.check()

    def check(self) -> None:
        self._outer.check()
