"""A bundle opened from the Start page: the file, the job, the session; and what people upload by mistake."""

from pathlib import Path

import pytest

from core.store import JobState, Workspace
from tests.dashboard.conftest import OpenPage, text_of

GOLDEN = Path(__file__).resolve().parents[1] / "sharing" / "data" / "bundle-1.espalier.zip"


def upload(page, name: str, data: bytes):
    page.file_uploader(key="import-file").set_value((name, data, "application/zip")).run()
    page.button(key="import-go").click().run()
    assert not page.exception


def test_a_bundle_becomes_a_session(served: Workspace, open_page: OpenPage) -> None:
    from dashboard import backend

    page = open_page()
    assert page.button(key="import-go").disabled
    upload(page, "<b>../x</b>.espalier.zip", GOLDEN.read_bytes())
    (job,) = served.store.jobs()
    assert backend.runner().wait(job.id, 120).state is JobState.DONE
    (session,) = served.store.list_sessions()
    assert (session.name, session.lineage[-1]["how"]) == ("Golden, bundle version 1", "import")
    text = text_of(open_page("compare", session=session.id))
    assert "half" in text
    assert "imported" in text
    assert "did not travel along" not in text


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"hello"])
def test_what_is_no_bundle_is_refused_at_once(served: Workspace, open_page: OpenPage, data: bytes) -> None:
    page = open_page()
    upload(page, "x.zip", data)
    assert "not a bundle" in " ".join(item.value for item in page.error)
    assert served.store.list_sessions() == []


def test_a_damaged_bundle_fails_in_words(served: Workspace, open_page: OpenPage) -> None:
    from dashboard import backend

    page = open_page()
    upload(page, "x.zip", GOLDEN.read_bytes()[:-100])
    (job,) = served.store.jobs()
    assert backend.runner().wait(job.id, 60).state is JobState.FAILED
    (session,) = served.store.list_sessions()
    text = text_of(open_page("compare", session=session.id))
    assert "Not opened" in text
    assert "not a bundle" in text


def test_data_that_stayed_behind_are_asked_for(served: Workspace, open_page: OpenPage) -> None:
    session = served.store.create_session("from elsewhere")
    row = served.store.add_dataset(
        id="a" * 64,
        name="Pictures (<b>mine</b>)",
        spec={"source": "image_folder", "root": "mine"},
        description={"away": True},
    )
    served.store.set_session_data(session.id, row.id)
    page = open_page("compare", session=session.id)
    assert "did not travel along" in text_of(page)
    assert page.button(key="data-away-go").disabled
    page.text_input(key="data-away-typed-image_folder").set_value("\0").run()
    page.button(key="data-away-go").click().run()
    assert "null character" in " ".join(item.value for item in page.error)
    assert served.store.jobs(session_id=session.id) == []
