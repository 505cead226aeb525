"""Names of models, layers, classes, sessions, variants and jobs come from files and people: they are text everywhere.

Every page is drawn with names that are markup in HTML, in Streamlit's markdown and in plotly's labels; nothing of it
may arrive as markup.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from core.store import Workspace
from core.store.records import JobState
from dashboard.catalogue import catalogue
from tests.dashboard import seeding
from tests.dashboard.conftest import OpenPage

pytestmark = pytest.mark.row("B12")

EVIL = (
    '<b id="x">{}</b>[go](http://evil.example)![p](http://evil.example/p.png) www.evil.example a@evil.example '
    ":red[r] $y$ %{{x}} \u202e"
)
MARKUP = '<b id="x">'
# Bare addresses become links, too, whether their signs are escaped or not.
LINK = re.compile(r"https?\\?:\\?/\\?/evil|\bwww\\?\.|\w@\w")
# What plotly draws as text with a subset of HTML; ``customdata`` only where a template shows it.
DRAWN = {"text", "hovertext", "ticktext", "name", "labels", "hovertemplate", "texttemplate", "title", "x", "y"}


def hostile(name: str) -> str:
    return EVIL.format(name)


@pytest.fixture
def hostile_session(served: Workspace, monkeypatch: pytest.MonkeyPatch) -> str:
    """A whole session whose every name is markup."""
    layers = [{**layer, "name": hostile(layer["name"]), "stage": hostile(layer["stage"])} for layer in seeding.LAYERS]
    fragility = {hostile(name): value for name, value in seeding._FRAGILITY.items()}
    monkeypatch.setattr(seeding, "LAYERS", layers)
    monkeypatch.setattr(seeding, "_FRAGILITY", fragility)
    monkeypatch.setattr(seeding, "SIZES", {hostile(name): size for name, size in seeding.SIZES.items()})
    monkeypatch.setattr(seeding, "CLASSES", tuple(hostile(name) for name in seeding.CLASSES))
    seeded = seeding.seed_session(served, name=hostile("session"))
    seeding.seed_sensitivity(served)
    seeding.seed_measurements(served, seeded)
    for variant in (seeded.dense, *seeded.variants):
        assert variant is not None
        served.store.rename_variant(variant.id, hostile(variant.name))
    for state in (JobState.DONE, JobState.FAILED, JobState.QUEUED):
        error = hostile("error") if state is JobState.FAILED else None
        seeding.seed_job(served, seeded.session, "prune", state, title=hostile(state.value), error=error)
    return seeded.session.id


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def drawn_texts(value: Any, *, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a figure that is drawn, with the name of what holds it."""
    if isinstance(value, dict):
        shows_data = "customdata" in str(value.get("hovertemplate", "")) + str(value.get("texttemplate", ""))
        for name, item in value.items():
            if name in DRAWN or (name == "customdata" and shows_data):
                for text in strings(item):
                    yield name, text
            else:
                yield from drawn_texts(item, key=name)
    elif isinstance(value, list):
        for item in value:
            yield from drawn_texts(item, key=key)


def faults(page: AppTest) -> list[str]:
    """What arrived as markup, by its element."""
    found = []
    for node in page._tree:
        proto = getattr(node, "proto", None)
        kind = type(proto).__name__
        if kind == "PlotlyChart":
            spec = json.loads(proto.spec)
            found += [f"plotly {name}: {text[:90]}" for name, text in drawn_texts(spec) if MARKUP in text]
            continue
        if kind in ("ButtonGroup", "Radio"):  # their choices are markdown; those of menus are text
            choices = [str(getattr(choice, "content", choice)) for choice in proto.options]
            found += [f"{kind}: {text[:90]}" for text in choices if LINK.search(text)]
        if kind == "Html":
            found += [f"Html: …{before[-60:]}{MARKUP}" for before, _, after in [proto.body.partition(MARKUP)] if after]
            continue
        for name in ("body", "label", "help", "placeholder", "text", "title", "value"):
            text = getattr(proto, name, None) or getattr(node, name, None)
            # What is typed or chosen and what is code are shown as they are.
            as_it_is = kind in ("Code", "TextInput", "TextArea") or (kind, name) == ("Selectbox", "value")
            link = LINK.search(text) if isinstance(text, str) and not as_it_is else None
            if link:
                found.append(f"{kind}.{name}: …{link.string[max(0, link.start() - 60) :][:140]}")
    return found


PAGES = sorted(catalogue())


@pytest.mark.parametrize("url", PAGES)
def test_names_are_text_on_every_page(url: str, open_page: OpenPage, hostile_session: str) -> None:
    page = open_page(url, session=hostile_session)
    assert faults(page) == []


def test_names_in_a_plan_of_another_model_are_text(open_page: OpenPage, served: Workspace) -> None:
    session = seeding.seed_session(served).session
    evil = hostile("layer")
    plan = {"overrides": {evil: 0.5}, "protected": [hostile("other")], "name": evil, "sparsity": 0.5}
    served.store.save_draft(session.id, plan, revision=session.revision)
    assert faults(open_page("plan", session=session.id)) == []


def test_without_a_session_too(open_page: OpenPage, hostile_session: str) -> None:
    assert faults(open_page("start")) == []


def test_labels_of_pictures_are_escaped_where_they_are_made() -> None:
    """What no seeded page draws is found in the source: plotly draws HTML wherever it draws text."""
    drawn = re.compile(r"\b(ticktext|hovertext|text|name)(\"\s*:|=)\s*(\[|f\")*\{?short\(")
    sources = sorted((Path(dashboard.__file__).parent / "components").glob("*.py"))
    wrong = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sources
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if drawn.search(line) and "st." not in line
    ]
    assert wrong == [], "use format.chart_text"
