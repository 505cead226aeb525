"""Keep the images whose prediction a variant changed: the pages show them without torch and without the data."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import MeasurementError
from . import JobContext, job_kind

_IMAGES = 24
_MOST = 96
_LIMIT = 1000


@job_kind("gallery")
def make_gallery(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Choose images of the test split whose prediction changed most against the dense model, and store them.

    Payload: ``variant_id``, ``images`` (24, at most 96), ``limit`` (1,000: how many images a segmentation is looked for
    in; flips of classes are known of all). Result: ``measurement_id`` (kind "gallery"; its result holds ``artifact``,
    an npz of ``core.analysis.gallery``), ``n``, ``changed`` and ``shown``.

    Raises:
        MeasurementError: for the dense model itself.
        StoreError: when the variant is gone.
        DataError: when the data are gone or are no longer those that the variant was measured on.
    """
    from ...analysis.changed_predictions import flip_gallery, mask_gallery
    from ...analysis.evaluation import Evaluation
    from .. import loading

    workspace, store, progress = context.workspace, context.workspace.store, context.progress
    variant = store.get_variant(str(payload.get("variant_id")))
    images = max(1, min(_MOST, int(payload.get("images") or _IMAGES)))
    dense = loading.dense_variant(workspace, store.get_session(variant.session_id))
    if variant.id == dense.id:
        raise MeasurementError("Choose a pruned variant: the dense model is what its predictions are compared with.")
    progress.update(0, 0, "Loading the data")
    splits = loading.load_data(store.get_dataset(variant.data_id), progress=progress)
    if splits.task == "classification":
        if dense.evaluation_artifact is None or variant.evaluation_artifact is None:
            raise MeasurementError("The predictions of this variant were not kept; run its plan again.")
        kept = [Evaluation.load(workspace.artifacts.path(item.evaluation_artifact or "")) for item in (dense, variant)]
        gallery = flip_gallery(splits, *kept, images=images)
    else:
        progress.update(0, 0, "Loading both models")
        gallery = mask_gallery(
            loading.load_model(workspace, dense.artifact),
            loading.load_model(workspace, variant.artifact),
            splits,
            images=images,
            limit=int(payload.get("limit") or _LIMIT),
            progress=progress,
        )
    with tempfile.TemporaryDirectory(prefix="espalier-") as folder:
        path = Path(folder) / "gallery.npz"
        gallery.save(path)
        progress.check()
        artifact = workspace.artifacts.put_file(path)
    counts = {"n": gallery.n, "changed": gallery.changed, "shown": len(gallery)}
    measurement = store.add_measurement(
        variant_id=variant.id,
        kind="gallery",
        context={"reference": dense.id, "split": gallery.split, "images": images},
        result={"artifact": artifact, "task": gallery.task, **counts},
    )
    return {"measurement_id": measurement.id, **counts}
