"""What many sessions share, and parts of pages that run by themselves: made once, and never a traceback a second."""

import threading
import time

import pytest
import streamlit as st

from core.errors import StoreError
from dashboard.components.charts import figure, settled
from dashboard.following import follow
from dashboard.made_once import made_once


def test_twenty_sessions_that_want_one_picture_wait_for_one() -> None:
    made: list[int] = []

    @made_once(2)
    def picture(number: int) -> list[int]:
        time.sleep(0.05)
        made.append(number)
        return [number]

    found: list[list[int]] = []
    threads = [threading.Thread(target=lambda: found.append(picture(7))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [7]
    assert len({id(item) for item in found}) == 1
    for number in (8, 9, 7):
        picture(number)
    assert made == [7, 8, 9, 7], "as many as were asked for are kept"


def test_a_settled_figure_is_the_same_figure_and_is_turned_into_json_once() -> None:
    shown = figure(traces=[{"type": "scatter", "x": [1, 2], "y": [3, 4]}])
    before = shown.to_dict()
    assert settled(shown).to_dict() == before
    assert shown.to_dict() is shown.to_dict()


class Anew(BaseException):
    """What ``st.rerun`` does."""


def test_what_fails_with_its_page_is_the_pages_and_what_fails_later_draws_it_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def anew(scope: str) -> None:
        assert scope == "app"
        raise Anew

    monkeypatch.setattr(st, "fragment", lambda draw, *, run_every: draw)
    monkeypatch.setattr(st, "rerun", anew)
    words = ["fine"]

    def draw(said: list[str]) -> None:
        if said[0] != "fine":
            raise StoreError(said[0])

    part = follow(draw, every_s=1.0)
    part(words)
    words[0] = "gone"
    with pytest.raises(Anew):
        part(words)
    with pytest.raises(StoreError, match="gone"):
        follow(draw, every_s=1.0)(words)
