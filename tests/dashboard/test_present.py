"""Views are kept, ordered, and shown one after another with what was chosen on them."""

from pathlib import Path

import pytest

import dashboard
from core.store import Workspace
from dashboard.catalogue import catalogue
from dashboard.components.view_state import CHOICES
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import Seeded, seed_measurements, seed_sensitivity, seed_session

DASHBOARD = Path(dashboard.__file__).parent


@pytest.fixture
def seeded(served: Workspace) -> Seeded:
    seeded = seed_session(served)
    seed_measurements(served, seeded)
    seed_sensitivity(served)
    return seeded


def test_nothing_kept_says_what_to_do(seeded: Seeded, open_page: OpenPage) -> None:
    assert "No view is kept yet" in text_of(open_page("present", session=seeded.session.id))
    assert "Nothing is open yet" in text_of(open_page("present"))


def test_a_page_is_kept_with_what_is_chosen_and_comes_back(
    served: Workspace, seeded: Seeded, open_page: OpenPage
) -> None:
    page = open_page("compare", session=seeded.session.id)
    page.selectbox(key="compare-variant").set_value(seeded.variants[0].id).run()
    page.text_input(key="keep-view-name-compare").set_value("The result").run()
    page.button(key="keep-view-go").click().run()
    assert not page.exception
    (view,) = served.store.views(seeded.session.id)
    assert (view.name, view.body["page"]) == ("The result", "compare")
    assert view.body["chosen"]["compare-variant"] == seeded.variants[0].id
    shown = open_page("compare", session=seeded.session.id, present=view.id)
    assert shown.selectbox(key="compare-variant").value == seeded.variants[0].id
    text = text_of(shown)
    assert "The result" in text
    assert "1 of 1" in text
    # It is put back once, then the page is the viewer's.
    shown.selectbox(key="compare-variant").set_value(seeded.variants[1].id).run()
    assert shown.selectbox(key="compare-variant").value == seeded.variants[1].id


def test_views_are_stepped_through_in_their_order(served: Workspace, seeded: Seeded, open_page: OpenPage) -> None:
    store, session = served.store, seeded.session.id
    views = [store.save_view(session, name, {"page": name}) for name in ("model", "sensitivity", "compare")]
    first = open_page("model", session=session, present=views[0].id)
    assert first.button(key="presenter-back").disabled
    assert not first.button(key="presenter-on").disabled
    last = open_page("compare", session=session, present=views[2].id)
    assert last.button(key="presenter-on").disabled
    page = open_page("present", session=session)
    assert page.button(key=f"view-up-{views[0].id}").disabled
    page.button(key=f"view-down-{views[0].id}").click().run()
    assert [view.name for view in store.views(session)] == ["sensitivity", "model", "compare"]
    page.text_input(key=f"view-name-{views[0].id}").set_value("Its <b>layers</b>").run()
    page.button(key=f"view-name-go-{views[0].id}").click().run()
    page.button(key=f"view-delete-{views[2].id}").click().run()
    assert [view.name for view in store.views(session)] == ["sensitivity", "Its <b>layers</b>"]


def test_a_presentation_has_no_heading_over_nothing(served: Workspace, open_page: OpenPage) -> None:
    session = seed_session(served).session
    view = served.store.save_view(session.id, "Result", {"page": "compare"})
    headings = [item.value for item in open_page("compare", session=session.id, present=view.id).header]
    assert "Latency" not in headings  # nothing was timed: only the form would stand below it, which is hidden
    assert "Why is it faster, or not?" not in headings
    assert "A closer look" in headings
    headings = [item.value for item in open_page("compare", session=session.id).header]
    assert {"Latency", "Why is it faster, or not?"} <= set(headings)


@pytest.mark.parametrize(
    "body",
    [
        {"page": "nowhere"},
        {"page": "compare", "chosen": "none", "query": 3},
        {
            "page": "compare",
            "chosen": {
                "compare-variant": "gone",
                "compare-cost-True": "gone",
                "gallery-kind-x": 7,
                "share-create": True,
            },
            "query": {"session": "x"},
        },
    ],
)
def test_a_view_that_does_not_fit_any_more_breaks_no_page(
    served: Workspace, seeded: Seeded, open_page: OpenPage, body: dict[str, object]
) -> None:
    view = served.store.save_view(seeded.session.id, "old", body)
    open_page("compare", session=seeded.session.id, present=view.id)
    open_page("present", session=seeded.session.id)


@pytest.mark.parametrize("present", ["../../x", "0" * 16])
def test_an_address_that_names_no_view_is_an_ordinary_page(seeded: Seeded, open_page: OpenPage, present: str) -> None:
    page = open_page("compare", session=seeded.session.id, present=present)
    assert "Compare" in text_of(page)
    assert not [button for button in page.button if str(button.key).startswith("presenter")]


def test_what_is_kept_of_pages_exists() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in DASHBOARD.rglob("*.py") if path.name != "view_state.py"
    )
    for url, beginnings in CHOICES.items():
        assert url in catalogue()
        for beginning in beginnings:
            assert f'"{beginning}' in sources, f"no widget's key begins with {beginning}"
