"""The pages of the dashboard: every module in ``dashboard/pages`` that has TITLE, URL, ORDER and ``render``."""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

__all__ = ["PageEntry", "catalogue", "first_page_by_name", "streamlit_page"]


@dataclass(frozen=True)
class PageEntry:
    """One page. ``url`` is its path below the server's root and its name in ``state.go``. ``public``: where people log
    in, also those may see it who did not (module attribute ``PUBLIC``). ``listed``: whether it stands in the head of
    every page (``LISTED``); those that do not are drawn without that head."""

    title: str
    url: str
    order: int
    summary: str
    render: Callable[[], None]
    public: bool = False
    listed: bool = True


@functools.cache
def catalogue() -> dict[str, PageEntry]:
    """All pages by url, in the order in which they are shown."""
    from . import pages

    found = []
    for item in pkgutil.iter_modules(pages.__path__):
        if item.name.startswith("_"):
            continue
        module = importlib.import_module(f"{pages.__name__}.{item.name}")
        summary = (module.__doc__ or "").strip().splitlines()[0] if module.__doc__ else ""
        found.append(
            PageEntry(
                module.TITLE,
                module.URL,
                module.ORDER,
                summary,
                module.render,
                public=getattr(module, "PUBLIC", False),
                listed=getattr(module, "LISTED", True),
            )
        )
    found.sort(key=lambda entry: (entry.order, entry.url))
    return {entry.url: entry for entry in found}


def _first() -> PageEntry:
    return next(iter(catalogue().values()))


def streamlit_page(entry: PageEntry) -> "st.Page":
    """The page as Streamlit wants it. Two objects for the same url are the same page to Streamlit.

    No icon: an icon here would become the favicon, and Streamlit fetches material favicons from the internet.
    """
    first = _first()
    return st.Page(
        entry.render, title=entry.title, url_path="" if entry is first else entry.url, default=entry is first
    )


def first_page_by_name() -> "st.Page":
    """The first page once more: Streamlit has it at ``/`` only, and people type its name."""
    first = _first()
    return st.Page(first.render, title=first.title, url_path=first.url)
