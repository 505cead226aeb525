"""Measure latencies: variants against the dense model, and layers against each other.

These jobs run alone, and on the processor whatever the device of the other jobs is: that is what their numbers say.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import MeasurementError
from ...store import Variant
from . import JobContext, job_kind


@job_kind("measure", lane="measure")
def measure(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Time variants of one session and its dense model in interleaved pairs.

    Payload: ``variant_ids``, ``settings`` (LatencySettings as JSON, optional). Result: ``measurement_ids``, one per
    variant, the dense one included, and ``sentence``. In the stored rows a variant is named by its id.
    """
    from ...analysis.latency import LatencySettings, measure_latency
    from .. import loading

    workspace, store = context.workspace, context.workspace.store
    settings = LatencySettings.parse(payload.get("settings") or {})
    chosen = [store.get_variant(variant_id) for variant_id in payload.get("variant_ids") or ()]
    if not chosen:
        raise MeasurementError("Choose at least one variant to measure.")
    dense = loading.dense_variant(workspace, store.get_session(chosen[0].session_id))
    if any(variant.session_id != dense.session_id for variant in chosen):
        raise MeasurementError(
            "Variants of different sessions have different dense models; measure each session alone."
        )
    variants = _labelled([dense, *chosen])
    context.progress.update(0, 0, "Loading the variants")
    models = {name: loading.load_model(workspace, variant.artifact, on="cpu") for name, variant in variants.items()}
    result = measure_latency(models, reference=next(iter(variants)), settings=settings, progress=context.progress)
    busy = bool(result.get("busy")) or not context.exclusive
    shared = {key: value for key, value in result.items() if key != "rows"} | {"busy": busy}
    if not context.exclusive:
        shared["sentence"] = f"{result.get('sentence', '')} Another job would not pause and ran meanwhile.".strip()
    ids = []
    for name, variant in variants.items():
        rows = [{**row, "variant": variant.id} for row in result["rows"] if row["variant"] == name]
        measurement = store.add_measurement(
            variant_id=variant.id,
            kind="latency",
            context={"settings": settings.to_json(), "reference": dense.id, "job_id": context.job_id, "busy": busy},
            result={**shared, "rows": rows},
        )
        ids.append(measurement.id)
    return {"measurement_ids": ids, "sentence": shared.get("sentence", "")}


def _labelled(variants: Sequence[Variant]) -> dict[str, Variant]:
    """Label → variant, each once, the first one first: names, with the id behind those that several carry."""
    once = {variant.id: variant for variant in variants}
    names = Counter(variant.name for variant in once.values())
    return {
        variant.name if names[variant.name] == 1 else f"{variant.name} ({variant.id[:6]})": variant
        for variant in once.values()
    }


@job_kind("layer_times", lane="measure")
def layer_times(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Time the layers of the session's dense model.

    Payload: ``batch_size`` (optional). Result: ``measurement_id``; its result holds ``shares`` (layer → share of
    time), and ``cpu`` and ``threads`` that they are of.
    """
    import torch

    from ...analysis.layer_times import layer_times as measure_layers
    from ...analysis.machine import cpu_name
    from .. import loading

    _, dense = loading.session_parts(context.workspace, context.session_id)
    batch_size = int(payload.get("batch_size") or 1)
    context.progress.update(0, 0, "Timing the layers")
    model = loading.load_model(context.workspace, dense.artifact, on="cpu")
    shares = measure_layers(model, batch_size=batch_size, progress=context.progress)
    measurement = context.workspace.store.add_measurement(
        variant_id=dense.id,
        kind="layer_times",
        context={"batch_size": batch_size, "runtime": "torch", "busy": not context.exclusive},
        result={
            "shares": shares,
            "batch": batch_size,
            "busy": not context.exclusive,
            "cpu": cpu_name(),
            "threads": torch.get_num_threads(),
        },
    )
    return {"measurement_id": measurement.id}
