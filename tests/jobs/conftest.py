"""The tiny job kinds, registered in this process and, by the environment, in its workers; a runner and a session."""

import os
from collections.abc import Iterator

import pytest

os.environ["ESPALIER_JOB_KINDS"] = "tests.jobs.sample_kinds"

from core.jobs import Runner
from core.store import Session, Workspace

from . import sample_kinds
from .running import opened

__all__ = ["sample_kinds"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner in this process with a workspace of its own, shared by the tests of a file."""
    with Workspace.open(tmp_path_factory.mktemp("jobs")) as workspace, Runner(workspace, mode="inline") as started:
        yield started


@pytest.fixture(scope="module")
def session(runner: Runner) -> Session:
    """The sample network with 120 digits, opened in ``runner``."""
    return opened(runner)
