"""Several people in the pages: logging in, one's own sessions, and those of others, which are for looking only."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core.access import AccessPolicy, Limits, Passphrase
from core.errors import AccessError
from core.store import Session, Store, Workspace
from dashboard import backend, visitor

from .conftest import APP, OpenPage, text_of
from .seeding import seed_measurements, seed_sensitivity, seed_session

SECRET = "open sesame"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A server with a passphrase, and Bea's session on it."""
    backend.close()
    monkeypatch.setenv("ESPALIER_RUNNER", "inline")
    policy = AccessPolicy(login="passphrase", limits=Limits(uploads_mb=1))
    runner = backend.start(tmp_path / "workspace", policy=policy, passphrase=Passphrase(SECRET))
    yield runner.workspace
    backend.close()


@pytest.fixture
def beas(shared: Workspace) -> Session:
    door = backend.door()
    assert door is not None
    bea = door.directory.log_in("Bea")
    return shared.store.create_session("Bea's roses", owner=bea.id)


def come(**parameters: str) -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=60)
    for name, value in parameters.items():
        page.query_params[name] = value
    return page.run()


def log_in(page: AppTest, name: str, passphrase: str = SECRET) -> AppTest:
    page.text_input[0].set_value(passphrase)
    page.text_input[1].set_value(name)
    return page.button[0].click().run()


def test_nothing_is_shown_before_the_passphrase_is_right(shared: Workspace, beas: Session) -> None:
    page = come(session=beas.id)
    assert "Log in" in text_of(page)
    assert "roses" not in text_of(page)
    log_in(page, "Ann", "open says me")
    assert "This is not the passphrase of this server" in text_of(page)
    log_in(page, "", SECRET)
    assert "Say who you are" in text_of(page)
    log_in(page, "Ann", SECRET)
    assert not page.exception
    assert "Begin with a sample" in text_of(page)
    assert "Log in" not in text_of(page).replace("Log out", "")


def test_guessing_is_slowed_down(shared: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitor, "address", lambda: "192.0.2.1")  # AppTest has no network
    page = come()
    for _ in range(5):
        log_in(page, "Ann", "guess")
    log_in(page, "Ann", SECRET)
    assert "Too many wrong passphrases" in text_of(page)


def test_lists_show_ones_own_sessions_and_those_of_others_are_for_looking(shared: Workspace, beas: Session) -> None:
    page = log_in(come(), "Ann")
    assert "roses" not in text_of(page)
    page = log_in(come(session=beas.id), "Ann")
    assert "You are looking at **Bea’s** session" in text_of(page)
    page = log_in(come(session=beas.id), "Bea")
    assert "You are looking at" not in text_of(page)
    assert "roses" in text_of(page)


def test_a_tampered_page_cannot_write(shared: Workspace, beas: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a page asks the backend for, it gets the store and the runner of the person at the browser."""
    door = backend.door()
    assert door is not None
    found: dict[str, object] = {}

    def hacked(*_args: object, **_kwargs: object) -> None:
        store: Store = backend.store()
        for name, attempt in {
            "rename": lambda: store.rename_session(beas.id, "Ann's roses"),
            "delete": lambda: backend.workspace().store.delete_session(beas.id),
            "submit": lambda: backend.runner().submit("open", {}, session_id=beas.id),
            "draft": lambda: store.save_draft(beas.id, {}, revision=0),
        }.items():
            try:
                attempt()
            except AccessError as error:
                found[name] = str(error)
        found["mine"] = store.create_session("mine").owner

    monkeypatch.setattr("dashboard.components.masthead.draw", hacked)
    log_in(come(), "Ann")
    assert set(found) == {"rename", "delete", "submit", "draft", "mine"}
    assert all("is Bea's" in str(found[name]) for name in ("rename", "delete", "submit", "draft"))
    assert found["mine"] == door.directory.log_in("Ann").id
    assert shared.store.get_session(beas.id) == beas
    assert shared.store.jobs() == []


def test_a_forged_person_is_nobody(shared: Workspace, beas: Session) -> None:
    page = AppTest.from_file(str(APP), default_timeout=60)
    page.session_state[visitor._KEY] = {"id": beas.owner, "name": "Bea"}
    assert "Log in" in text_of(page.run())


def test_uploads_are_counted(shared: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import opening

    door = backend.door()
    assert door is not None
    ann = door.directory.log_in("Ann")
    monkeypatch.setattr(visitor, "person", lambda _door: ann)
    opening.keep_upload("a.pt", b"x" * 600_000)
    with pytest.raises(AccessError, match="1 MB within 24 hours"):
        opening.keep_upload("b.pt", b"y" * 600_000)


def test_without_a_login_all_is_as_it_was(open_page: OpenPage) -> None:
    assert backend.door() is None
    session = backend.store().create_session("mine")
    page = open_page("model", session=session.id)
    assert "You are looking at" not in text_of(page)
    assert "Log out" not in text_of(page)


def test_the_queue_says_whose_turn_it_is_and_nothing_else_of_others(shared: Workspace, beas: Session) -> None:
    door = backend.door()
    assert door is not None
    ann = shared.store.create_session("mine", owner=door.directory.log_in("Ann").id)
    for n in range(12):
        shared.store.create_job("prune", {"n": n}, owner="elsewhere", session_id=beas.id, title="Secret roses")
    shared.store.create_job("open", {}, owner="elsewhere", session_id=ann.id, title="Mine")
    page = AppTest.from_file(str(APP), default_timeout=60)
    page.query_params["session"] = ann.id
    page._page_hash = calc_hash("runs")
    page.run()
    log_in(page, "Ann")
    words = text_of(page).replace("\\", "")
    assert "1 · Bea · Prune" in words
    assert "2 · You · Open" in words
    assert "and 5 more" in words
    assert "1 ahead in the queue" in words
    assert "Secret roses" not in words


def test_every_page_of_somebody_elses_session_can_be_looked_at(
    shared: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = backend.door()
    assert door is not None
    ann, bea = door.directory.log_in("Ann"), door.directory.log_in("Bea")
    seeded = seed_session(shared)
    seed_measurements(shared, seeded)
    seed_sensitivity(shared)
    shared.store.give_session(seeded.session.id, bea.id)
    before = shared.store.get_session(seeded.session.id)
    monkeypatch.setattr(visitor, "person", lambda _door: ann)
    for url in ("model", "sensitivity", "plan", "runs", "compare"):
        page = AppTest.from_file(str(APP), default_timeout=60)
        page.query_params["session"] = seeded.session.id
        page._page_hash = calc_hash(url)
        page.run()
        assert not page.exception, url
        assert [error.value for error in page.error] == [], url
        assert "You are looking at **Bea’s** session" in text_of(page)
        assert "share-bundle" not in {button.key for button in page.get("download_button")}
        if url == "plan":
            page.slider[0].set_value(90).run()
            assert not page.exception
            assert "You are looking at" in text_of(page)
            page.button(key="plan-run-button").click().run()
            assert "you may look at it" in text_of(page).replace("\\", "")
    assert shared.store.get_session(seeded.session.id) == before
    assert shared.store.jobs() == []
