"""Pages that are reached in ways nobody planned: odd addresses, lost tabs, second tabs, restarts, changed plans."""

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard import backend
from dashboard.catalogue import catalogue
from tests.dashboard.conftest import APP, OpenPage, charts_of, text_of
from tests.dashboard.seeding import Seeded, seed_job, seed_measurements, seed_sensitivity, seed_session

PAGES = sorted(catalogue())
BUSY = ["model", "plan", "runs", *(pytest.param(url, marks=pytest.mark.slow) for url in ("sensitivity", "compare"))]
HOSTILE = ["../../x", "a" * 100_000, "' OR 1=1 --", "\0", "0" * 16]


@pytest.fixture
def seeded(served: Workspace) -> Seeded:
    found = seed_session(served)
    seed_sensitivity(served)
    seed_measurements(served, found)
    return found


@pytest.mark.row("B43")
@pytest.mark.parametrize("url", PAGES)
def test_hostile_parameters_are_ignored(url: str, open_page: OpenPage, seeded: Seeded) -> None:
    names = ("session", "variant", "job", "layer", "share", "token", "name", "__proto__")
    text = text_of(open_page(url, **dict.fromkeys(names, "<script>alert(1)</script>../../x")))
    assert "<script>alert" not in text
    assert "Traceback" not in text


@pytest.mark.row("B43")
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12])
def test_no_text_is_a_session_by_chance(value: str, served: Workspace, open_page: OpenPage) -> None:
    assert "Traceback" not in text_of(open_page("runs", session=value))


@pytest.mark.row("B43")
def test_repeated_parameters_are_one(served: Workspace, open_page: OpenPage) -> None:
    session = served.store.create_session("twice")
    page = open_page("runs")
    page.query_params["session"] = [session.id, "../../x"]
    page.run()
    assert not page.exception


@pytest.mark.row("B44", "B49")
@pytest.mark.parametrize("url", BUSY)
def test_a_tab_outlives_its_server_and_its_session(
    url: str, open_page: OpenPage, seeded: Seeded, served: Workspace
) -> None:
    """The server ends and another one starts on the same folder: the tab goes on. Then its address names others."""
    page = open_page(url, session=seeded.session.id)
    empty = served.store.create_session("nothing in it yet")
    backend.close()
    for session in (seeded.session.id, empty.id, "gone"):
        page.query_params["session"] = session
        page.run()
        assert not page.exception
        assert not [item.value for item in page.error if "fault of the program" in item.value]


@pytest.mark.row("B49")
@pytest.mark.parametrize("url", BUSY)
def test_widgets_of_another_version(url: str, open_page: OpenPage, seeded: Seeded) -> None:
    """A browser sends back what its widgets said, though their choices may have changed meanwhile."""
    first = open_page(url, session=seeded.session.id)
    later = AppTest.from_file(str(APP), default_timeout=60)
    later.query_params["session"] = seeded.session.id
    later._page_hash = calc_hash(url)
    for kind, stale in (("selectbox", "gone"), ("segmented_control", "gone"), ("multiselect", ["gone"])):
        for item in first.get(kind):
            if item.key:
                later.session_state[item.key] = stale
    for key in charts_of(first):
        later.session_state[key] = {"selection": {"points": [{}, {"customdata": 3}, {"customdata": ["gone", 9]}]}}
    later.run()
    assert not later.exception, later.exception[0].message
    assert not [item.value for item in later.error if "fault of the program" in item.value], later.code[0].value


@pytest.mark.row("B48")
def test_a_run_keeps_the_plan_that_it_began_with(seeded: Seeded, served: Workspace) -> None:
    store = served.store
    plan = Plan(sparsity=0.8, name="eighty")
    job = seed_job(
        served, seeded.session, "prune", JobState.RUNNING, payload={"plan": plan.to_json(), "name": "eighty"}
    )
    draft = store.get_session(seeded.session.id)
    store.save_draft(draft.id, {**plan.to_json(), "sparsity": 0.2}, revision=draft.revision)
    assert store.get_session(seeded.session.id).draft_plan["sparsity"] == 0.2
    assert Plan.parse(store.get_job(job.id).payload["plan"]) == plan
    assert served.store.get_job(job.id).payload["name"] == "eighty"
