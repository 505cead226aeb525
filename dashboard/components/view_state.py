"""What is chosen on a page, as JSON: kept with a view, and put back when the view is shown."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.catalogue import catalogue

__all__ = ["CHOICES", "captured", "query_of", "restore"]

CHOICES: dict[str, tuple[str, ...]] = {
    "model": ("layers-all", "network-colour", "network-size"),
    "plan": ("plan-group", "plan-layer", "plan-network-colour", "plan-network-size", "plan-bars"),
    "sensitivity": (
        "sensitivity-result",
        "sensitivity-layers",
        "sensitivity-quantity",
        "sensitivity-network-colour",
        "sensitivity-network-size",
    ),
    "runs": ("runs-kinds", "race-runs", "race-by", "run-curves-"),
    "compare": (
        "compare-cost-",
        "compare-variant",
        "compare-beside-",
        "gallery-class-",
        "gallery-kind-",
        "gallery-confidence-",
        "why-before",
        "why-after",
        "why-by",
    ),
}
"""By page: how the keys begin of the widgets that choose what is looked at. Buttons and forms are none of them."""

PRESENT = "present"
_OWN = ("session", PRESENT)
_LONGEST = 200


def captured(url: str) -> dict[str, Any]:
    """The page, the rest of its address, and what is chosen on it."""
    query = {key: str(value)[:_LONGEST] for key, value in st.query_params.items() if key not in _OWN}
    chosen = {
        str(key): value
        for key, value in st.session_state.items()
        if str(key).startswith(CHOICES.get(url, ())) and _plain(value)
    }
    return {"page": url, "query": query, "chosen": chosen}


def query_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The rest of the address of a view, without what names session and presentation."""
    query = body.get("query")
    found = query if isinstance(query, Mapping) else {}
    return {str(key): str(value)[:_LONGEST] for key, value in found.items() if key not in _OWN}


def restore(body: Mapping[str, Any]) -> None:
    """Choose on the page what the view says, before the page is drawn. What does not belong to the page is left out."""
    chosen, page = body.get("chosen"), str(body.get("page"))
    if not isinstance(chosen, Mapping) or page not in catalogue():
        return
    for key, value in chosen.items():
        if str(key).startswith(CHOICES.get(page, ())) and _plain(value):
            st.session_state[str(key)] = value


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str | int | float | bool) for item in value)
    return value is None or isinstance(value, str | int | float | bool)
