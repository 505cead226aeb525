"""Training runs on the Runs page: curves, numbers, resume, change and run, race."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.jobs.resuming import checkpoint_epoch
from core.store import Workspace
from core.store.records import Job, JobState
from dashboard.components.runs_race import default_choice, race_figure, race_rows
from dashboard.components.training_charts import layers_figure, loss_figure, score_figure
from dashboard.components.training_data import (
    best_epoch,
    elapsed_s,
    layer_matrix,
    line,
    loss_parts,
    outcome_sentence,
    planned_epochs,
    stage_spans,
    trains,
)
from tests.dashboard.conftest import OpenPage, charts_of, text_of
from tests.dashboard.seeding import LAYERS, seed_job, seed_session
from tests.dashboard.training_seed import seed_training, training_history


def charts(page: AppTest) -> list[dict[str, Any]]:
    return list(charts_of(page).values())


class TestHistory:
    def test_lines_leave_out_what_is_not_known(self) -> None:
        history = {"epochs": [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": None}, {"epoch": 3, "loss": 1.0}]}
        assert (line(history, "loss").epochs, line(history, "loss").values) == ((1, 3), (2.0, 1.0))
        assert line(history, "loss", low="low", high="high").low == ()
        assert line({}, "loss").values == ()

    def test_a_whole_history(self) -> None:
        history = training_history(14)
        assert planned_epochs(history) == 20
        assert [(span.name, span.first, span.last) for span in stage_spans(history)] == [
            ("Prune", 1, 12),
            ("Recover", 13, 20),
        ]
        assert set(loss_parts(history)) == {"ce", "kd"}
        assert elapsed_s(history)[14] == pytest.approx(14 * 9.5)
        names, epochs, matrix = layer_matrix(history)
        assert names == [layer["name"] for layer in LAYERS]
        assert epochs == list(range(1, 15))
        assert all(len(row) == 14 for row in matrix)
        assert "14 of at most 20 epochs" in outcome_sentence(history)
        assert (best_epoch({**history, "restored_epoch": 13}) or {})["epoch"] == 13

    def test_a_stage_that_ended_early_ends_where_the_next_begins(self) -> None:
        history = training_history(9)
        history["stages"][1]["first_epoch"] = 8
        assert [(span.first, span.last) for span in stage_spans(history)] == [(1, 7), (8, 15)]

    @pytest.mark.parametrize("epochs", [0, 1, 14, 300])
    def test_figures_are_drawn_at_every_length(self, epochs: int) -> None:
        history = training_history(epochs, stages=(("Prune", 200), ("Recover", 200)))
        for window in (None, (1, 400), (3, 9)):
            for figure in (score_figure(history, window=window), loss_figure(history, window=window)):
                assert all(axis in figure.layout for axis in ("yaxis", "yaxis2"))
            assert layers_figure(history, dark=True, window=window).layout.height >= 150

    def test_a_window_shows_its_epochs_only(self) -> None:
        shown = score_figure(training_history(14), window=(3, 9))
        assert tuple(shown.layout.xaxis.range) == (2.5, 9.5)
        assert {epoch for trace in shown.data for epoch in trace.x} == set(range(3, 10))

    def test_the_axis_stays_while_epochs_arrive(self) -> None:
        ranges = {tuple(score_figure(training_history(n)).layout.xaxis.range) for n in (1, 7, 15)}
        assert ranges == {(0.5, 20.5)}

    def test_a_history_of_an_older_version_is_drawn_as_far_as_it_goes(self) -> None:
        bare = {"kind": "training", "epochs": [{"epoch": 1, "select_score": 0.5}]}
        assert len(score_figure(bare).data) == 1
        assert len(loss_figure(bare).data) == 0


class TestRace:
    def job(self, number: int, **payload: Any) -> Job:
        plan = {"method": "dg2pf", "sparsity": payload.pop("sparsity", 0.9)}
        body = {"id": f"j{number}", "session_id": "s", "kind": "prune", "title": "Prune: same", "state": "done"}
        body |= {"created": "2026-03-01T12:00:00Z", "payload": {"plan": plan, "name": "same", **payload}}
        return Job.model_validate(body)

    def test_the_newest_race_is_chosen(self) -> None:
        runs = [self.job(3), self.job(2, race="a"), self.job(1, race="a"), self.job(0, race="b")]
        assert default_choice(runs) == ["j2", "j1"]
        assert default_choice([self.job(2), self.job(1, sparsity=0.5), self.job(0)]) == ["j2", "j0"]
        assert default_choice([self.job(2), self.job(1, sparsity=0.5)]) == ["j2", "j1"]  # nobody races alone

    def test_by_seconds_the_faster_run_ends_earlier(self) -> None:
        histories = {"a": training_history(10, seconds=2.0), "b": training_history(10, seconds=5.0)}
        shown = race_figure(histories, {"a": "A", "b": "B"}, by="seconds")
        ends = {trace.name: trace.x[-1] for trace in shown.data if trace.name}
        assert ends == {"A": 20.0, "B": 50.0}
        rows = race_rows([self.job(0)], {"j0": histories["a"]}, {"j0": "A"}, {})
        assert (rows[0]["epochs"], rows[0]["training took"], rows[0]["test"]) == (10, "20 s", "–")


class TestPage:
    def test_a_running_training_shows_where_it_stands(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        seed_training(served, session, JobState.RUNNING, training_history(12, running=True))
        page = open_page("runs", session=session.id)
        text = text_of(page)
        for words in ("13 of 20", "Recover", "step 31 of 78", "1,060 images/s", "dense 92.5 %", "1 min 14 s"):
            assert words.replace(" ", "") in text.replace("\u00a0", "").replace(" ", ""), words
        assert len(charts(page)) == 3

    def test_the_chosen_epochs_stay_while_new_ones_arrive(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        job = seed_training(served, session, JobState.RUNNING, training_history(12, running=True))
        page = open_page("runs", session=session.id)
        page.slider(key=f"run-window-{job.id}").set_value((4, 16)).run()
        served.store.put_partial(job.id, training_history(13, running=True))
        page.run()
        score = charts(page)[0]
        assert score["layout"]["xaxis"]["range"] == [3.5, 16.5]
        assert page.slider(key=f"run-window-{job.id}").value == (4, 16)

    def test_before_the_first_epoch_it_says_so(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        seed_training(served, session, JobState.RUNNING, None)
        assert "The curves begin with the first epoch" in text_of(open_page("runs", session=session.id))

    def test_a_failed_run_keeps_its_curve_and_says_what_to_do(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        words = "The loss was NaN or infinite at step 41 (epoch 6). Lower the learning rate."
        trace = "core.errors.TrainingError: …"
        seed_training(served, session, JobState.FAILED, training_history(5), error=words, traceback=trace, checkpoint=5)
        page = open_page("runs", session=session.id)
        assert any("NaN or infinite" in item.value for item in page.error)
        assert "resuming would end in the same way" in text_of(page)
        assert "Run again" in [button.label for button in page.button]
        assert len(charts(page)) == 3, "the newest run that did not end well is unfolded"

    @pytest.mark.parametrize("state", [JobState.INTERRUPTED, JobState.CANCELLED])
    def test_resume_continues_the_same_row(self, served: Workspace, open_page: OpenPage, state: JobState) -> None:
        session = seed_session(served).session
        job = seed_training(served, session, state, training_history(7), checkpoint=7)
        assert checkpoint_epoch(served, job) == 7
        page = open_page("runs", session=session.id)
        assert "goes on after epoch 7" in text_of(page)
        button = page.button(key=f"run-again-{job.id}")
        assert button.label == "Resume"
        button.click().run()
        (only,) = served.store.jobs(session.id)
        assert only.id == job.id
        assert only.state is not state

    def test_without_a_checkpoint_it_is_run_again(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        job = seed_training(served, session, JobState.INTERRUPTED, None)
        page = open_page("runs", session=session.id)
        assert "before there was a checkpoint" in text_of(page)
        assert page.button(key=f"run-again-{job.id}").label == "Run again"

    def test_change_and_run_makes_the_plan_the_draft(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        job = seed_training(served, session, JobState.DONE, training_history(20), method="gradual", name="mine")
        page = open_page("runs", session=session.id)
        page.button(key=f"run-change-{job.id}").click().run()
        draft = served.store.get_session(session.id).draft_plan
        assert (draft["method"], draft["sparsity"], draft["name"]) == ("gradual", 0.9, "mine")

    def test_two_runs_can_race(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        seed_training(served, session, JobState.DONE, training_history(20), name="first", race="r")
        page = open_page("runs", session=session.id)
        assert "Race" not in [item.value for item in page.header]
        seed_training(served, session, JobState.CANCELLED, training_history(6), name="second", race="r")
        page = open_page("runs", session=session.id)
        assert "Race" in [item.value for item in page.header]
        frame = page.dataframe[0].value
        assert set(frame["run"]) == {"first", "second"}
        race = charts(page)[0]
        assert [trace["name"] for trace in race["data"] if trace.get("showlegend", True)] == ["second", "first"]

    def test_jobs_that_do_not_train_have_no_curves(self, served: Workspace, open_page: OpenPage) -> None:
        session = seed_session(served).session
        job = seed_job(served, session, "prune", JobState.DONE, payload={"plan": {"method": "one_shot"}})
        assert not trains(job)
        assert charts(open_page("runs", session=session.id)) == []
