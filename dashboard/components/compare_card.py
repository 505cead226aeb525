"""The model card of one variant, to take away."""

from functools import partial

import streamlit as st

from core.sharing.card import model_card
from core.store.records import Variant
from dashboard import backend

__all__ = ["draw_card"]


def draw_card(variant: Variant) -> None:
    """Two buttons: the card as a page, and as Markdown for a repository."""
    name = "".join(char if char.isascii() and char.isalnum() else "-" for char in variant.name)[:60].strip("-")
    with st.popover("Model card", icon=":material/description:"):
        st.caption("What it is, how it was made, what was measured with its intervals, and what that does not say.")
        for label, suffix, mime in (("HTML", "html", "text/html"), ("Markdown", "md", "text/markdown")):
            st.download_button(
                label,
                data=partial(_text, variant.id, suffix),
                file_name=f"{name or 'variant'}.{suffix}",
                mime=mime,
                on_click="ignore",
                key=f"card-{suffix}-{variant.id}",
            )


def _text(variant_id: str, suffix: str) -> bytes:
    card = model_card(backend.workspace(), variant_id)
    return (card.html if suffix == "html" else card.markdown).encode()
