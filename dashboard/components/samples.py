"""The models that come with Espalier, as cards: one click opens one with its data."""

from typing import Any

import streamlit as st

from core.data.specs import DataSpec
from core.models.specs import ModelSpec
from dashboard.opening import begin
from sample_models import SAMPLES, SampleInfo

from .badges import known_html
from .format import count, escape, percent, size

__all__ = ["sample_cards"]

_ABOUT = {
    "digits_resnet": "Residual blocks, a concatenation and a depthwise convolution: wiring that pruning must respect.",
    "digits_vit": "Patches, attention heads and feed-forward layers of a small vision transformer.",
    "scenes_fcn": "Labels every pixel of scenes composed of real digit scans.",
}


def sample_cards() -> None:
    """Draw one card per sample. The first is the demo."""
    columns = st.columns(len(SAMPLES), gap="medium")
    for index, (column, info) in enumerate(zip(columns, SAMPLES.values(), strict=True)):
        with column.container(border=True, height="stretch", key=f"sample-{info.name}"):
            st.html(_card(info))
            label = "Use the demo" if index == 0 else "Open"
            if st.button(
                label, key=f"open-{info.name}", type="primary" if index == 0 else "secondary", width="stretch"
            ):
                begin(ModelSpec(source="sample", name=info.name), DataSpec(source=info.data), name=info.title)


def _card(info: SampleInfo) -> str:
    facts: dict[str, Any] = info.facts
    channels, height, width = info.input_shape
    lines = [f"{count(facts.get('parameters'))} parameters" if facts.get("parameters") else ""]
    lines += [f"{width}×{height} {'grey' if channels == 1 else 'colour'} images", f"{info.num_classes} classes"]
    if info.weights_file.exists():
        lines.append(size(info.weights_file.stat().st_size))
    measured = ""
    if facts.get("score") is not None:
        measured = (
            f'<p class="v">{percent(facts["score"])} <small>{escape(facts.get("metric", "accuracy"))}</small></p>'
            f'<p class="n">{known_html(True, facts.get("n"))}</p>'
        )
    return (
        f'<div class="esp-card"><h3>{escape(info.title)}</h3><p class="n">{escape(info.name)}</p>'
        f"<p>{escape(_ABOUT.get(info.name, ''))}</p>{measured}"
        f'<p class="n">{" · ".join(line for line in lines if line)}</p></div>'
    )
