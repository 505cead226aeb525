"""The queue of the whole server, where several people share it: whose turn it is, and nothing else of other people."""

import streamlit as st

from core.access import PersonalStore
from core.store.fair_queue import Place
from dashboard import backend

from .format import duration, escape, short
from .runs_data import kind_words

__all__ = ["draw_server_queue", "queue_lines"]

_SHOWN = 8


def draw_server_queue() -> None:
    """Draw what runs and who waits; nothing where one person works alone, or nobody else has a job."""
    door, store = backend.door(), backend.store()
    if door is None or not isinstance(store, PersonalStore):
        return
    places = store.queue()
    if all(place.person == store.person.id for place in places):
        return
    known = {place.person: door.directory.name(place.person) for place in places}
    names = {person: short(name, 30) for person, name in known.items()} | {store.person.id: "You"}
    with st.container(border=True, key="server-queue"):
        st.markdown("**On this server**")
        for line in queue_lines(places, names):
            st.caption(escape(line, markdown=True))
        st.caption("People take turns: one job of each, in the order in which they asked.")


def queue_lines(places: list[Place], names: dict[str, str]) -> list[str]:
    """One line per job, running ones first; the end of a long queue is counted."""
    lines = []
    waiting = [place for place in places if not place.running]
    for place in places:
        kind = kind_words(place.kind)
        if place.running:
            left = f", about {duration(place.eta_s)} left" if place.eta_s is not None else ""
            lines.append(f"runs · {names[place.person]} · {kind}{left}")
        elif waiting.index(place) < _SHOWN:
            lines.append(f"{waiting.index(place) + 1} · {names[place.person]} · {kind}")
    if len(waiting) > _SHOWN:
        lines.append(f"and {len(waiting) - _SHOWN} more")
    return lines
