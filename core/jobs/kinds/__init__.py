"""What a job can do: one file per kind. Listing the kinds imports no torch; running one does.

A kind is a function ``kind(payload, context) -> result``, both JSON-serialisable dicts, registered with ``job_kind``.
It writes its rows and artifacts itself, the last step being the one row that makes the result visible.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ...progress import Progress
from ...registry import Registry, discover
from ...store import Workspace

__all__ = ["JOB_KINDS", "JobContext", "JobFunction", "Lane", "job_kind", "kinds_of", "lane_of", "load_kinds"]

Lane = Literal["work", "measure"]

# Modules with further kinds, separated by commas: tests register theirs this way, in the server and in its workers.
EXTRA_MODULES = "ESPALIER_JOB_KINDS"


@dataclass(frozen=True)
class JobContext:
    """What a job function may use. ``exclusive``: no other job of this runner computes meanwhile."""

    workspace: Workspace
    session_id: str | None
    job_id: str | None
    progress: Progress
    exclusive: bool = True


class JobFunction(Protocol):
    """A kind of job."""

    def __call__(self, payload: Mapping[str, Any], context: JobContext) -> dict[str, Any]: ...


JOB_KINDS: Registry[JobFunction] = Registry("job kind")
_LANES: dict[str, Lane] = {}


def job_kind(name: str, *, lane: Lane = "work") -> Callable[[JobFunction], JobFunction]:
    """Decorator that files a job function. Lane "measure" runs alone: jobs of lane "work" wait at their next check."""
    add = JOB_KINDS.register(name)

    def register(function: JobFunction) -> JobFunction:
        _LANES[name] = lane
        return add(function)

    return register


def lane_of(kind: str) -> Lane:
    """The lane that runs this kind of job; RegistryError (listing the kinds) when there is none."""
    JOB_KINDS[kind]
    return _LANES[kind]


def kinds_of(lane: Lane) -> list[str]:
    """The kinds that this lane runs."""
    return [kind for kind in JOB_KINDS if _LANES[kind] == lane]


def load_kinds() -> None:
    """Register the kinds of this folder and of the modules named by ESPALIER_JOB_KINDS."""
    discover(__name__, __path__)
    for module in filter(None, os.environ.get(EXTRA_MODULES, "").split(",")):
        importlib.import_module(module.strip())


load_kinds()
