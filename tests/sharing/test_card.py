"""Model cards: everything that was measured is in them, and no text that a person typed becomes markup."""

import re
from html.parser import HTMLParser

import pytest

import core
from core.errors import StoreError
from core.methods import METHODS
from core.pruning.plan import Plan
from core.sharing.card_text import Items, Section, Table, Text, as_html, as_markdown
from core.sharing.plan_words import plan_sentences
from core.store import Session, Workspace

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "`code` *bold* _it_ ~~no~~ $x^2$ | cell",
    "# heading",
    "- item",
    "1. item",
    "https://evil.example and www.evil.example and a@evil.example",
    "</title><h1>x",
    "&lt;b&gt; &amp;",
    "line\none\r\n\ntwo\u202etxt\x00",
    "```\nfence",
    "<!-- -->",
    "\\*",
]


class Tags(HTMLParser):
    """Names of the tags and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_card_says_what_was_measured(made: tuple[Workspace, Session]) -> None:
    workspace, session = made
    dense, half = workspace.store.variants(session.id)
    card = core.model_card(workspace, half.id)
    text = "".join(Tags(card.html).text)
    test = half.metrics["test"]
    for fact in (
        half.artifact,
        half.data_id,
        f"{100 * test['score']:.1f} %",
        f"{100 * test['low']:.1f} % to {100 * test['high']:.1f} %",
        "On the same images, paired",
        f"{half.sizes['nonzero']:,}",
        "50.0 %",
        "first at 25 %",
        "Left dense: head",
        "A processor",
        "faster",
        "Opset",
        "TracedModel.load",
        "Removed weights are stored as zeros",
    ):
        assert fact in text, fact
    titles = [section.title for section in card.sections]
    assert titles == [line.removeprefix("## ") for line in card.markdown.splitlines() if line.startswith("## ")]
    assert "half \\*of\\* &lt;it&gt;" in card.markdown
    assert str(workspace.folder) not in card.markdown + card.html
    whole = core.model_card(workspace, dense.id)
    assert "Nothing was removed." in whole.markdown
    assert "Classes that lost" not in whole.markdown
    with pytest.raises(StoreError):
        core.model_card(workspace, "0" * 16)


@pytest.mark.row("B12")
@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text: str) -> None:
    sections = [Section(text, (Text(text), Items((text,)), Table((text, "b"), ((text, text),))))]
    plain = [Section("x", (Text("x"), Items(("x",)), Table(("x", "b"), (("x", "x"),))))]
    page, harmless = Tags(as_html(text, sections)), Tags(as_html("x", plain))
    assert (page.tags, page.attributes) == (harmless.tags, harmless.attributes)
    lines = as_markdown(text, sections).splitlines()
    assert len(lines) == len(as_markdown("x", plain).splitlines())
    for line, same in zip(lines, as_markdown("x", plain).splitlines(), strict=True):
        assert line[:2].strip() == same[:2].strip() or not same.startswith(("#", "-", "|"))
        assert "<" not in line
        unescaped = line.replace("\\\\", "")
        for mark in ("[", "`", "*", "_", "~", "$", "@"):
            assert unescaped.count(mark) == unescaped.count(f"\\{mark}"), (mark, line)
        assert line.count("://") == line.count("\\://")
        assert "www.e" not in line
        if same.startswith("|"):
            assert unescaped.count("|") - unescaped.count("\\|") == same.count("|")


def test_a_page_loads_nothing_and_runs_nothing(made: tuple[Workspace, Session]) -> None:
    workspace, session = made
    page = core.model_card(workspace, workspace.store.variants(session.id)[1].id).html
    tags = Tags(page)
    assert not {"script", "img", "link", "iframe", "a", "form"} & set(tags.tags)
    assert not {"src", "href", "onload"} & set(tags.attributes)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("method", list(METHODS))
def test_the_plan_of_every_method_can_be_said(method: str) -> None:
    said = plan_sentences(Plan(method=method, sparsity=0.4, seed=3).to_json())
    assert said[0].startswith(f"Method: {METHODS[method].title}")
    assert not re.search(r"\[[PCD]", said[0]), "marks of METHODS.md"
    assert said[-1] == "Seed 3."
    assert any("40.0 %" in sentence for sentence in said) == (METHODS[method].removes != "nothing")


def test_settings_are_called_as_the_form_calls_them() -> None:
    settings = {"round_to": 8, "prune": {"epochs": 3, "schedule": "constant"}, "training": {"augment": False}}
    said = plan_sentences(Plan(method="cpd", sparsity=0.75, method_settings=settings).to_json())
    assert said[2:-1] == [
        "Settings: round channels to = 8.",
        "Pruning while training: epochs at most = 3; learning rate over time = constant.",
        "Training: augment = no.",
    ]
    assert said[1].endswith("chosen by “Fisher of gates”.")
    settings = {"distillation": {"teacher_folder": "/models/my_teacher"}}
    said = plan_sentences(Plan(method="cpd", method_settings=settings).to_json())
    assert any(sentence.endswith(" = /models/my_teacher.") for sentence in said), "what a person typed stays"
    deeper = Plan(method_settings={"a": {"b": {"c": 1}}})
    assert "a: b = c 1." in plan_sentences(deeper.to_json())


def test_a_plan_with_exceptions_is_said() -> None:
    plan = Plan(overrides={f"l{n}": 0.5 for n in range(20)}, protected=("stem",), method_settings={"a": {"b": 1}})
    said = " ".join(plan_sentences(plan.to_json()))
    assert "l0 at 50 %" in said
    assert "and 8 more" in said
    assert "Left dense: stem." in said
    assert "a: b = 1." in said
    assert "does not know" in plan_sentences({**plan.to_json(), "method": "of tomorrow"})[0]
