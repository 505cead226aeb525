"""One reading of the store for one page: the same rows from everywhere, read once, and never older than a write."""

import threading

import pytest
from sqlalchemy import event

from core.errors import StoreError
from core.store import Store
from core.store.reading import one_reading


def statements(store: Store) -> list[str]:
    """Every SQL statement from now on."""
    seen: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
    return seen


def test_rows_are_read_once_and_read_anew_after_a_write(store: Store) -> None:
    session = store.create_session("one")
    seen = statements(store)
    with one_reading():
        assert store.get_session(session.id) is store.get_session(session.id)
        assert store.jobs(session_id=session.id) == store.jobs(session_id=session.id) == []
        assert sum("FROM sessions" in text for text in seen) == 1
        store.rename_session(session.id, "two")
        assert store.get_session(session.id).name == "two"
        store.jobs(session_id=session.id).clear()  # a list is the caller's own
        store.create_job("open", {"n": 1}, owner="me", session_id=session.id)
        assert len(store.jobs(session_id=session.id)) == len(store.jobs(session.id)) == 1


def test_what_others_write_is_seen_by_the_next_reading(store: Store) -> None:
    session = store.create_session("one")
    with one_reading():
        assert store.get_session(session.id).name == "one"
        other = threading.Thread(target=store.rename_session, args=(session.id, "two"))
        other.start()
        other.join()
        assert store.get_session(session.id).name == "one"
    assert store.get_session(session.id).name == "two"
    with one_reading():
        assert store.get_session(session.id).name == "two"


def test_what_is_missing_is_not_remembered(store: Store) -> None:
    with one_reading():
        with pytest.raises(StoreError):
            store.get_session("0" * 16)
        made = store.create_session("one")
        assert store.get_session(made.id) == made
