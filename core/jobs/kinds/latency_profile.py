"""Time a model's layers at a grid of channel numbers, so that a slider can tell milliseconds at once."""

from collections.abc import Mapping
from typing import Any

from ..knowledge import PROFILE
from . import JobContext, job_kind


@job_kind("latency_profile", lane="measure")
def profile_session(payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]:
    """Time the layers of the session's model in ONNX Runtime, one image, one thread.

    Payload: none. Result: ``latency_profile`` (``LatencyProfile.to_json``) and ``measured`` (layer shapes timed now;
    the others were in this machine's table).
    """
    from ...analysis.network_latency import NetworkLatency
    from ...comb.combing import comb
    from ...comb.summary import summarise
    from ...planning.latency import measure_profile
    from .. import loading

    _, dense = loading.session_parts(context.workspace, context.session_id)
    context.progress.update(0, 0, "Loading the model")
    found = comb(loading.load_model(context.workspace, dense.artifact, on="cpu"))
    times = NetworkLatency(found, progress=context.progress)
    profile = measure_profile(times, summarise(found, explain=False), progress=context.progress)
    return {PROFILE: profile.to_json(), "measured": times.table.measured}
