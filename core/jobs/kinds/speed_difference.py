"""Say where the difference in speed between two variants comes from. Runs alone, on the processor."""

from collections.abc import Mapping
from typing import Any

from ...errors import MeasurementError
from . import JobContext, job_kind


@job_kind("speed_difference", lane="measure")
def explain_speed(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Time two variants of one session against each other, and their layers one by one.

    Payload: ``before`` and ``after`` (variant ids), ``runtime`` (optional). Result: ``measurement_id``, of the second
    variant: its result is a ``SpeedDifference`` as JSON and its context names ``before``.
    """
    from ...analysis.why_faster import why_faster
    from .. import loading

    workspace, store = context.workspace, context.workspace.store
    before, after = (store.get_variant(str(payload[side])) for side in ("before", "after"))
    if before.session_id != after.session_id:
        raise MeasurementError("Variants of different sessions are not compared; choose two of the same session.")
    context.progress.update(0, 0, "Loading the variants")
    one, other = (loading.load_model(workspace, variant.artifact, on="cpu") for variant in (before, after))
    runtime = str(payload.get("runtime") or "onnxruntime")
    found = why_faster(one, other, runtime=runtime, progress=context.progress).to_json()
    measurement = store.add_measurement(
        variant_id=after.id,
        kind="speed_difference",
        context={"before": before.id, "job_id": context.job_id},
        result={**found, "busy": found["busy"] or not context.exclusive},
    )
    return {"measurement_id": measurement.id}
