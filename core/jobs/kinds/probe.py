"""“Will it be faster here?”: time a plan's largest layers before anything is pruned. Runs alone, on the processor."""

from collections.abc import Mapping
from typing import Any

from . import JobContext, job_kind


@job_kind("probe", lane="measure")
def probe_plan(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Time the layers that ``questions`` name, of the model that the plan starts from.

    Payload: ``questions`` (see ``core.planning.faster``), ``settings`` (ProbeSettings as JSON, optional), ``start`` (id
    of a variant; empty: the dense model). Result: see ``core.analysis.probe.probe``; ``cached`` tells whether the same
    was measured on this machine before.
    """
    from ...analysis.cost import count_macs
    from ...analysis.probe import ProbeSettings
    from ...analysis.probe_cache import ProbeCache
    from ...comb.combing import comb
    from ...comb.geometry import geometries
    from ...planning.faster import SpeedQuestion, answer, asked_key
    from ...pruning.plan import Plan
    from .. import loading
    from ..lineage import start_of

    workspace = context.workspace
    settings = ProbeSettings.parse(payload.get("settings") or {})
    questions = [SpeedQuestion.parse(body) for body in payload.get("questions") or ()]
    _, dense = loading.session_parts(workspace, context.session_id)
    start = start_of(workspace.store, Plan(start=str(payload.get("start") or "")), dense)
    context.progress.update(0, 0, "Reading the layers")
    model = loading.load_model(workspace, start.artifact, on="cpu")
    found, cache = geometries(comb(model)), ProbeCache()
    known = cache.get(asked_key(questions, found, settings=settings))
    if known is not None:
        return {**known, "cached": True}
    result = answer(questions, found, work=count_macs(model), settings=settings, progress=context.progress)
    if not context.exclusive:
        result |= {"busy": True, "busy_sentence": "Another job would not pause and ran meanwhile."}
    cache.put(result)
    return {**result, "cached": False}
