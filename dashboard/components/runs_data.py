"""What the Runs page says about a job: words for its state, times, and what can be done with it. Pure functions."""

from collections.abc import Sequence
from datetime import UTC, datetime

from core.errors import EspalierError
from core.pruning.plan import Plan
from core.store.records import Job, JobState
from dashboard.components.format import ago, duration
from dashboard.components.training_data import trains

__all__ = [
    "KIND_WORDS",
    "STATE_WORDS",
    "advice",
    "continues",
    "diverged",
    "duration_s",
    "kind_words",
    "page_of",
    "plan_of",
    "split_live",
    "summary_line",
]

KIND_WORDS = {
    "open": "Open",
    "groups": "Groups",
    "sensitivity": "Sensitivity",
    "search": "Search",
    "check": "Check",
    "probe": "Speed check",
    "prune": "Prune",
    "describe": "Read variant",
    "measure": "Latency",
    "layer_times": "Layer times",
    "latency_profile": "Unit times",
    "speed_difference": "Speed difference",
    "gallery": "Images",
    "export": "ONNX export",
    "import": "Import",
}
"""What a kind of work of ours is called; a test asks for a word for every kind."""

# state → (word, badge colour of Streamlit)
STATE_WORDS: dict[JobState, tuple[str, str]] = {
    JobState.QUEUED: ("waiting", "gray"),
    JobState.RUNNING: ("running", "blue"),
    JobState.DONE: ("done", "green"),
    JobState.FAILED: ("failed", "red"),
    JobState.CANCELLED: ("cancelled", "gray"),
    JobState.INTERRUPTED: ("interrupted", "orange"),
}

_CANCELLED = "You cancelled it. What it had measured is kept."

# Where a person finds what a finished job made.
_RESULT_PAGES = {
    "open": ("model", "See the model"),
    "sensitivity": ("sensitivity", "See the sensitivity"),
    "prune": ("compare", "Compare it"),
    "measure": ("compare", "See the latencies"),
    "export": ("compare", "Download the file"),
    "gallery": ("compare", "See the images"),
}


def kind_words(kind: str) -> str:
    """What a kind of work is called; one that is not ours, by its name."""
    return KIND_WORDS.get(kind, kind.replace("_", " "))


def page_of(job: Job) -> tuple[str, str] | None:
    """URL path and link text of the page that shows the job's result, when there is one."""
    return _RESULT_PAGES.get(job.kind) if job.state is JobState.DONE else None


def continues(job: Job) -> bool:
    """Whether submitting the job again goes on from what it has: true for sensitivity, which keeps its cells."""
    return job.kind == "sensitivity" and job.state in (JobState.CANCELLED, JobState.INTERRUPTED, JobState.FAILED)


def duration_s(job: Job, *, now: datetime | None = None) -> float | None:
    """Seconds from start to end, or to now; never negative, even when the clock was set back."""
    if job.started is None:
        return None
    end = job.finished or now or datetime.now(UTC)
    return max(0.0, (end - job.started).total_seconds())


def summary_line(job: Job, *, now: datetime | None = None, ahead: int = 0) -> str:
    """One line under the title: where it stands, for how long, and how long it may take."""
    parts: list[str] = []
    if job.state is JobState.QUEUED:
        parts.append("next in line" if ahead == 0 else f"{ahead} ahead in the queue")
    elif job.state is JobState.RUNNING:
        if job.message:
            parts.append(job.message)
        parts.append(f"for {duration(duration_s(job, now=now))}")
        if job.eta_s is not None:
            parts.append(f"about {duration(job.eta_s)} left")
    else:
        parts.append(f"started {ago(job.started or job.created, now=now)}")
        if job.started is not None:
            parts.append(f"took {duration(duration_s(job, now=now))}")
    return " · ".join(parts)


def plan_of(job: Job) -> Plan | None:
    """The plan that a pruning job executes; None for other jobs and for plans that cannot be read any more."""
    if job.kind != "prune":
        return None
    try:
        return Plan.parse(job.payload.get("plan"))
    except EspalierError:
        return None


def diverged(job: Job) -> bool:
    """Whether a training ended because its loss was not finite any more: going on would only repeat that."""
    return job.state is JobState.FAILED and "TrainingError" in (job.traceback or "")


def advice(job: Job, *, epoch: int | None = None) -> str | None:
    """What to do next about a job that did not finish. None for jobs that are fine.

    ``epoch``: the epoch whose checkpoint the job left behind.
    """
    kept = "" if epoch is None else f" Resume goes on after epoch {epoch}, with the same result as without the stop."
    if job.state is JobState.INTERRUPTED:
        if kept:
            return f"The server stopped while this ran.{kept}"
        if continues(job):
            return "The server stopped while this ran. Resume goes on from the cells that were measured."
        if trains(job):
            return "The server stopped while this ran, before there was a checkpoint. Run it again."
        return "The server stopped while this ran. Resume starts it again with the same settings."
    if job.state is JobState.CANCELLED:
        return f"You cancelled it.{kept}" if kept else _CANCELLED if continues(job) else None
    if job.state is not JobState.FAILED:
        return None
    text = (job.error or "").lower()
    go_on = "resume it" if kept else "run it again"
    if "memory" in text:
        return f"Close other programs or choose a smaller batch size, then {go_on}.{kept}"
    if "disk" in text or "space" in text:
        return f"Free some disk space, then {go_on}.{kept}"
    if diverged(job):
        return "Change the plan as the message says and run it: resuming would end in the same way."
    if kept:
        return f"Change the plan (a smaller learning rate, say) and run it, or resume it if the cause is gone.{kept}"
    return {
        "open": "Check the model and the data on the Start page, then open them again.",
        "sensitivity": "Run it again: cells that were measured are kept.",
        "prune": "Change the plan and run it again, or run it again as it is if the cause is gone.",
        "measure": "Run it again when the machine is quiet, or with fewer runtimes.",
        "export": "Try another opset, or run it again.",
    }.get(job.kind, "Run it again if the cause is gone.")


def split_live(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Live jobs (running first, then in the order they wait) and ended ones (newest first)."""
    running = [job for job in jobs if job.state is JobState.RUNNING]
    queued = sorted((job for job in jobs if job.state is JobState.QUEUED), key=lambda job: job.created)
    ended = sorted((job for job in jobs if not job.state.live), key=lambda job: job.created, reverse=True)
    return [*running, *queued], ended
