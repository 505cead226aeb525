"""The Plan page's estimates, checks by themselves, and searches: what is asked, shown and taken over."""

import pytest

from core.planning.points import unbeaten
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import JobState
from dashboard.components import plan_check
from dashboard.components.plan_search import taken_over
from dashboard.components.search_charts import points_figure, points_table
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.grouped import seed_groups
from tests.dashboard.seeding import seed_job, seed_sensitivity, seed_session


def _outcome(sparsity: float, score: float, *, estimated: float | None) -> dict:
    said = None if estimated is None else {"score": estimated, "low": estimated - 0.05, "high": estimated + 0.05}
    layers = ("stage2.0.conv1", "stage3.0.conv2")
    body = {"kind": "weights", "recalibrated": True, "sparsities": dict.fromkeys(layers, sparsity)}
    body |= {"energies": dict.fromkeys(layers, sparsity**2), "share": sparsity, "n": 256, "estimated": said}
    return body | {"score": score, "dense_score": 0.95}


def _point(score: float, size: int, *, family: str = "lamp", t: float | None = 0.5, kept: bool = True) -> dict:
    comparison = {"low": score - 0.97, "high": score - 0.93, "sentence": "1.0 points worse", "difference": score - 0.95}
    measured = {"metric": "accuracy", "n": 256, "score": score, "low": score - 0.02, "high": score + 0.02}
    measured |= {"dense_score": 0.95, "difference": score - 0.95, "comparison": comparison}
    body = {"plan": Plan(sparsity=t or 0.3, overrides={"head": 0.2}).to_json(), "measured": measured, "kept": kept}
    body |= {"estimated": {"score": 0.9, "low": 0.8, "high": 0.95}, "family": family, "t": t, "latency_ms": None}
    return body | {"bytes": size, "nonzero": size // 4, "parameters": size // 2, "macs": 10**6}


def _result(**changes) -> dict:
    plans = [_point(0.94, 50_000), _point(0.91, 40_000, kept=False), _point(0.945, 60_000, family="optuna", t=None)]
    dense = {"score": 0.95, "bytes": 100_000, "nonzero": 25_000, "macs": 10**6, "latency_ms": None}
    target = {"goal": "smallest", "cost": "bytes", "score": 0.93, "sure": False, "within_ms": None}
    body = {"plans": plans, "best": 0, "nearest": None, "front": [1, 0, 2], "blocked_by": None, "notes": ["A note."]}
    body |= {"dense": dense, "target": {**target, "within_bytes": None}, "sentence": "Smallest: 50,000 bytes."}
    return body | changes


class TestEstimate:
    def test_the_record_of_past_estimates_is_shown(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served)
        for sparsity, score, said in ((0.5, 0.93, 0.94), (0.7, 0.90, 0.88), (0.9, 0.60, 0.80)):
            result = {"outcome": _outcome(sparsity, score, estimated=said)}
            seed_job(
                served, seeded.session, "check", JobState.DONE, title="Check", result=result, payload={"s": sparsity}
            )
        words = text_of(open_page("plan", session=seeded.session.id)).replace("\\", "")
        assert "The last 3 estimates were off by 2.0 points in the median; 2 of 3 inside the band." in words
        assert "set right by 3 measured plans" in words

    def test_a_measurement_of_this_plan_takes_the_place_of_the_estimate(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served)
        plan = Plan.parse(served.store.get_session(seeded.session.id).draft_plan or {})
        result = {"metric": "accuracy", "n": 256, "score": 0.871, "low": 0.82, "high": 0.91, "dense_score": 0.9}
        result |= {"difference": -0.029, "estimated": {"score": 0.88, "low": 0.8, "high": 0.9}}
        payload = {"plan": plan.to_json(), "images": 256}
        seed_job(served, seeded.session, "check", JobState.DONE, title="Check", result=result, payload=payload)
        words = text_of(open_page("plan", session=seeded.session.id))
        assert "Expected accuracy" not in words
        assert "measured, n = 256" in words
        assert "expected had been 88.0 %" in words

    def test_a_plan_that_trains_says_that_this_is_before_training(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served)
        served.store.save_draft(
            seeded.session.id, {"method": "gradual", "sparsity": 0.8}, revision=seeded.session.revision
        )
        assert "before training" in text_of(open_page("plan", session=seeded.session.id))

    def test_without_curves_groups_say_what_is_missing(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        words = text_of(open_page("plan", session=session.id))
        assert "measure the sensitivity of groups, or check 3 plans" in words
        assert "Time the layers" in words


class TestCheckByItself:
    def test_it_starts_once_the_plan_rests_and_a_new_edit_cancels_it(
        self, served: Workspace, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
    ):
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        page = open_page("plan", session=session.id)
        assert not [job for job in served.store.jobs(session.id) if job.kind == "check"]  # looking is no edit
        next(item for item in page.slider if "Sparsity" in item.label).set_value(35.0).run()
        assert not [job for job in served.store.jobs(session.id) if job.kind == "check"]  # it does not rest yet
        monkeypatch.setattr(plan_check, "REST_S", 0.0)
        page.run()
        (job,) = [job for job in served.store.jobs(session.id) if job.kind == "check"]
        assert Plan.parse(job.payload["plan"]).sparsity == 0.35

    def test_it_can_be_switched_off(self, served: Workspace, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(plan_check, "REST_S", 0.0)
        session = seed_groups(served, "resnet", {"sparsity": 0.3})
        page = open_page("plan", session=session.id)
        page.toggle(key="plan-check-auto").set_value(False).run()
        next(item for item in page.slider if "Sparsity" in item.label).set_value(35.0).run()
        assert not [job for job in served.store.jobs(session.id) if job.kind == "check"]


class TestSearch:
    def test_a_question_becomes_a_job(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = _opened(open_page("plan", session=seeded.session.id))
        page.number_input(key="plan-search-keep").set_value(90.0)
        page.button(key="plan-search-start").click().run()
        (job,) = [job for job in served.store.jobs(seeded.session.id) if job.kind == "search"]
        assert job.payload["settings"]["keep"] == 0.9
        assert job.payload["settings"]["goal"] == "smallest"
        assert job.payload["plan"]["name"] == ""

    def test_limits_that_are_missing_are_asked_for(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = _opened(open_page("plan", session=seeded.session.id))
        page.segmented_control(key="plan-search-goal").set_value("fastest").run()
        assert "say within how many milliseconds or bytes" in text_of(page)
        assert page.button(key="plan-search-start").disabled
        page.number_input(key="plan-search-kb").set_value(80.0).run()
        assert not page.button(key="plan-search-start").disabled
        assert page.number_input(key="plan-search-ms").disabled  # zeros save no time

    def test_what_was_found_is_shown_and_taken_over(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_job(served, seeded.session, "search", JobState.DONE, title="Search", result=_result())
        page = _opened(open_page("plan", session=seeded.session.id))
        assert "Smallest: 50,000 bytes" in text_of(page).replace("\\", "")
        assert "A note" in text_of(page)
        page.button(key="plan-search-take").click().run()
        draft = Plan.parse(served.store.get_session(seeded.session.id).draft_plan or {})
        assert (draft.sparsity, draft.overrides) == (0.5, {"head": 0.2})

    def test_impossible_targets_and_stopped_searches_say_so(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        sentence = "No plan was found that keeps 99.0%. The nearest possible is the dense model."
        result = _result(best=None, nearest=None, plans=[], front=[], sentence=sentence)
        seed_job(served, seeded.session, "search", JobState.DONE, title="Search", result=result)
        page = _opened(open_page("plan", session=seeded.session.id))
        assert any("nearest possible" in item.value for item in page.warning)
        seed_job(served, seeded.session, "search", JobState.CANCELLED, title="Search", partial=_result(sentence=""))
        page = _opened(open_page("plan", session=seeded.session.id))
        assert "it goes on with what was measured" in text_of(page)


def _opened(page):
    return page.run()


def test_pictures_and_tables_hold_every_point():
    result = _result()
    shown = points_figure(result, metric="accuracy")
    assert sum(len(trace.x) for trace in shown.data if trace.mode == "markers") == len(result["plans"]) + 1
    assert shown.layout.shapes[0].y0 == 0.93
    frame = points_table(result)
    assert list(frame[""]) == ["best", "", "keeps"]
    assert points_table({**result, "plans": []}).empty


def test_a_method_that_trains_keeps_itself_and_takes_the_amounts():
    found = Plan(sparsity=0.7, overrides={"head": 0.1})
    assert taken_over(Plan(name="mine"), found) == found.changed(name="mine")
    trained = taken_over(Plan(method="gradual"), found)
    assert (trained.method, trained.sparsity, trained.overrides) == ("gradual", 0.7, {"head": 0.1})


def test_unbeaten_is_the_front():
    assert unbeaten([(3, 0.9), (1, 0.5), (2, 0.4), (3, 0.95), (1, 0.5)]) == [1, 3]
    assert unbeaten([]) == []
