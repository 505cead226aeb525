"""The folder of the workspace goes while a real server works in it: said in one sentence, nothing is begun anew."""

from pathlib import Path

import pytest

from core.store import JobState, Workspace

from .servers import ended, running, serve, until
from .streamlit_client import Tab

GONE = "was deleted or moved"


@pytest.mark.slow
@pytest.mark.row("F05")
def test_a_workspace_that_is_moved_away_is_missed_at_once_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    here, away = tmp_path / "work", tmp_path / "away"
    with serve(here) as server, Workspace.open(here) as workspace:
        session = workspace.store.create_session("kept")
        job = server.queue(workspace, "test_count", {"n": 100_000, "pause_s": 0.02}, session.id)
        running(workspace, job)
        with Tab(server.url) as tab:
            page = tab.open("runs", session=session.id)
            assert page.fragments
            here.rename(away)
            # What follows the job says it with its page, and asks no more.
            answer = tab.poll(next(iter(page.fragments)), "runs", session=session.id)
            assert GONE in answer.text
            assert not answer.fragments
            for url in ("runs", "", "model", "share"):
                told = tab.open(url, session=session.id)
                assert GONE in told.text
                assert "Traceback" not in told.text
            until(lambda: "waits" in (away / "espalier.log").read_text())
            assert not here.exists()
            away.rename(here)
            assert "kept" in tab.open("runs", session=session.id).text
        workspace.store.request_cancel(job.id)
        assert ended(workspace, job).state is JobState.CANCELLED, "it ran all the while"
        again = server.queue(workspace, "test_count", {"n": 2}, session.id)
        assert ended(workspace, again).state is JobState.DONE
        log = (here / "espalier.log").read_text()
        server.stop()
        assert server.process.stderr is not None
        said = server.process.stderr.read()
        assert said.count(GONE) in (1, 2), "once per lane"
        assert "Traceback" not in said + log
