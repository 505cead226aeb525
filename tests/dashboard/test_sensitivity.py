"""The Sensitivity page: estimate before measurement, live and finished results, pins, and the numbers behind them."""

import math

import pytest
import streamlit as st

from core.store import Workspace
from core.store.records import JobState
from dashboard.components.sensitivity_charts import curves_figure, heatmap_figure
from dashboard.components.sensitivity_data import (
    curve,
    damage_matrix,
    levels_of,
    measured_cells,
    most_sensitive,
    shown_cells,
    table,
    verdict,
)
from dashboard.components.sensitivity_pins import clicked_cell
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.grouped import grouped, seed_groups
from tests.dashboard.seeding import LAYERS, LEVELS, seed_job, seed_sensitivity, seed_session, sensitivity_result

NAMES = [layer["name"] for layer in LAYERS]


class TestNumbers:
    def test_matrix_holds_points_lost_and_gaps(self):
        result = sensitivity_result(layers=NAMES[:3])
        matrix = damage_matrix(result, NAMES, "score")
        assert matrix.shape == (len(NAMES), len(LEVELS))
        assert not any(math.isnan(value) for value in matrix[:3].ravel())
        assert all(math.isnan(value) for value in matrix[3:].ravel())
        cell = result["layers"][NAMES[0]][4]
        assert matrix[0, 4] == pytest.approx(100 * (result["dense"]["score"] - cell["score"]))

    def test_levels_include_those_not_measured_yet(self):
        assert levels_of({"settings": {"levels": [0.5, 0.1]}, "layers": {}}) == [0.1, 0.5]

    def test_curve_starts_at_the_dense_model_and_carries_its_interval(self):
        result = sensitivity_result()
        line = curve(result, "stem.conv", "score")
        assert line is not None
        assert line.sparsity[0] == 0.0
        assert line.y[0] == result["dense"]["score"]
        assert all(low <= y <= high for low, y, high in zip(line.low, line.y, line.high, strict=True))
        assert curve(result, "nobody", "score") is None

    def test_most_sensitive_is_the_fragile_stem(self):
        assert most_sensitive(sensitivity_result(), NAMES, "score", count=2)[0] == "stem.conv"
        assert most_sensitive({"layers": {}}, NAMES, "score", count=2) == []

    def test_verdict_waits_for_a_complete_level(self):
        assert verdict(sensitivity_result(layers=NAMES[:3]), NAMES, "accuracy") == ""
        sentence = verdict(sensitivity_result(), NAMES, "accuracy")
        assert "stem.conv" in sentence
        assert "of 12 layers" in sentence

    def test_table_has_one_row_per_cell(self):
        result = sensitivity_result()
        frame = table(result, NAMES)
        assert len(frame) == measured_cells(result) == len(NAMES) * len(LEVELS)
        assert {"layer", "sparsity", "accuracy", "accuracy low", "loss gained", "images"} <= set(frame.columns)


class TestPictures:
    @pytest.mark.parametrize("dark", [False, True])
    def test_every_cell_can_be_clicked(self, dark: bool):
        shown = heatmap_figure(
            sensitivity_result(layers=NAMES[:2]), NAMES, "score", metric="accuracy", overrides={"head": 0.5}, dark=dark
        )
        cells, pinned = shown.data
        assert [[tuple(cell) for cell in row] for row in cells.customdata] == [
            [(name, level) for level in LEVELS] for name in NAMES
        ]
        assert len(pinned.y) == 1  # the pinned cell is outlined
        assert "not measured yet" in cells.text[-1][-1]

    def test_names_are_no_markup(self):
        shown = curves_figure(
            {"layers": {"<b>x": sensitivity_result()["layers"]["head"]}, "dense": {"score": 0.9}},
            ["<b>x"],
            "score",
            metric="accuracy",
            overrides={},
        )
        assert "<b>x" not in shown.data[1].hovertemplate

    @pytest.mark.parametrize(
        "event", [None, {}, {"selection": {"points": []}}, {"selection": {"points": [{"customdata": None}]}}]
    )
    def test_nothing_clicked(self, event: object):
        assert clicked_cell(event) is None

    @pytest.mark.parametrize("data", [["head", 0.4], {"0": "head", "1": 0.4}])
    def test_a_click_names_layer_and_sparsity(self, data: object):
        assert clicked_cell({"selection": {"points": [{"customdata": data}]}}) == ("head", 0.4)


class TestPage:
    def test_without_a_session(self, open_page: OpenPage):
        assert "Nothing is open yet" in text_of(open_page("sensitivity"))

    def test_estimate_is_marked_before_anything_is_measured(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("sensitivity", session=seeded.session.id)
        assert "From the weights only" in text_of(page)
        assert page.button(key="sensitivity-start").label == "Measure sensitivity"

    def test_a_stored_result_appears_at_once(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served)
        page = open_page("sensitivity", session=seeded.session.id)
        text = text_of(page)
        assert "measured, n = 500" in text
        assert "97.2" in text
        assert "weights only" not in text
        page.segmented_control(key="sensitivity-quantity").set_value("loss").run()
        assert not page.exception

    def test_a_partial_result_offers_to_continue(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served, complete=False, layers=4)
        page = open_page("sensitivity", session=seeded.session.id)
        assert "36 of 108 cells" in text_of(page)
        assert page.button(key="sensitivity-continue").label == "Continue"

    def test_a_live_job_shows_what_it_has_so_far(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        partial = sensitivity_result(layers=NAMES[:5])
        seed_job(served, seeded.session, "sensitivity", JobState.RUNNING, title="Sensitivity", partial=partial)
        page = open_page("sensitivity", session=seeded.session.id)
        text = text_of(page)
        assert "45" in text  # cells of five layers
        assert any(button.label == "Cancel" for button in page.button)
        assert not [button for button in page.button if button.key == "sensitivity-start"]

    def test_a_failed_job_says_why_and_keeps_what_it_had(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served, complete=False, layers=4)
        seed_job(
            served,
            seeded.session,
            "sensitivity",
            JobState.FAILED,
            error="Out of memory; try a smaller batch size.",
            traceback="Traceback: MemoryError",
        )
        page = open_page("sensitivity", session=seeded.session.id)
        assert any("Out of memory" in item.value for item in page.error)
        assert "MemoryError" in text_of(page)
        assert "measured, n = 500" in text_of(page)

    def test_start_submits_the_settings(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("sensitivity", session=seeded.session.id)
        page.number_input(key="sensitivity-settings-images").set_value(250)
        page.button(key="sensitivity-start").click().run()
        jobs = [job for job in served.store.jobs(seeded.session.id) if job.kind == "sensitivity"]
        assert [job.payload["settings"]["images"] for job in jobs] == [250]

    @pytest.mark.row("B33")
    def test_wrong_levels_are_refused_at_the_field(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        page = open_page("sensitivity", session=seeded.session.id)
        page.text_input(key="sensitivity-settings-levels").set_value("0.5, 1.0").run()
        assert page.button(key="sensitivity-start").disabled
        assert page.error

    def test_a_click_pins_the_cell_into_the_draft(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        seed_sensitivity(served)
        page = open_page("sensitivity", session=seeded.session.id)
        page.session_state["sensitivity-clicked"] = ("stage2.0.conv1", 0.7)
        page.run()
        draft = served.store.get_session(seeded.session.id).draft_plan
        assert draft["overrides"] == {"stage2.0.conv1": 0.7}
        assert "Pinned in the plan" in text_of(page)
        assert "stage2.0.conv1" in page.multiselect(key="sensitivity-layers").value
        next(button for button in page.button if button.key and button.key.startswith("unpin-")).click().run()
        assert served.store.get_session(seeded.session.id).draft_plan["overrides"] == {}

    @pytest.mark.row("B23")
    def test_a_model_without_prunable_layers(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served)
        model = served.store.get_model(seeded.model_id)
        served.store.add_model(
            id=model.id,
            name=model.name,
            spec=model.spec,
            description={**model.description, "layers": []},
            artifact=model.artifact,
            weights_artifact=model.weights_artifact,
        )
        assert "Nothing to prune" in text_of(open_page("sensitivity", session=seeded.session.id))

    def test_segmentation_speaks_of_miou(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served, task="segmentation")
        result = sensitivity_result(metric="mIoU")
        served.store.put_sensitivity(
            key="k",
            model_id=seeded.model_id,
            data_id=seeded.data_id,
            settings=result["settings"],
            result=result,
            complete=True,
        )
        assert "mIoU" in text_of(open_page("sensitivity", session=seeded.session.id))


class TestGroups:
    @staticmethod
    def result(sheet, *, settled: bool = True) -> dict:
        """Every group loses more the more of it goes."""
        cells = {
            group.name: [
                {"sparsity": level, "removed": 1, "share": level, "loss": 0.1 + level, "score": 0.9 - level / 2}
                | {"low": 0.85 - level / 2, "high": 0.93 - level / 2, "n": 250 if settled else 32}
                | {"dloss": level, "dloss_se": 0.01, "dscore": -level / 2, "dscore_se": 0.01, "settled": settled}
                for level in LEVELS
            ]
            for group in sheet.groups
        }
        return sensitivity_result(n=1000) | {
            "kind": "groups",
            "layers": {},
            "groups": cells,
            "settings": {"levels": list(LEVELS), "of": "groups"},
            "notes": ["Measured in bfloat16: 99.9% of the dense model's answers are the same."],
        }

    @staticmethod
    def store(served: Workspace, session, result: dict) -> None:
        served.store.put_sensitivity(
            key="groups",
            model_id=session.model_id,
            data_id=session.data_id,
            settings=result["settings"],
            result=result,
            complete=True,
        )

    def test_groups_are_estimated_measured_and_pinned(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet")
        sheet = grouped("resnet").sheet
        page = open_page("sensitivity", session=session.id)
        assert page.segmented_control(key="sensitivity-kind").value == "layers"
        page.segmented_control(key="sensitivity-kind").set_value("groups").run()
        assert "the scores of each group’s units" in text_of(page)
        page.number_input(key="sensitivity-group-settings-images").set_value(250)
        page.button(key="sensitivity-start").click().run()
        job = next(job for job in served.store.jobs(session.id) if job.kind == "sensitivity")
        assert job.payload["settings"]["of"] == "groups"
        served.store.update_job(job.id, state=JobState.DONE)

        self.store(served, session, self.result(sheet))
        page = open_page("sensitivity", session=session.id)
        page.segmented_control(key="sensitivity-kind").set_value("groups").run()
        text = text_of(page)
        assert "250 images each on average" in text
        assert "bfloat16" in text
        assert not page.exception
        page.session_state["sensitivity-clicked"] = (sheet.groups[0].name, 0.5)
        page.run()
        assert served.store.get_session(session.id).draft_plan.get("overrides", {}) == {}  # a plan of single weights
        served.store.save_draft(
            session.id, {"method": "one_shot_structured"}, revision=served.store.get_session(session.id).revision
        )
        page = open_page("sensitivity", session=session.id)
        assert page.segmented_control(key="sensitivity-kind").value == "groups"
        page.session_state["sensitivity-clicked"] = (sheet.groups[0].name, 0.5)
        page.run()
        draft = served.store.get_session(session.id).draft_plan
        assert draft["overrides"] == {f"group:{sheet.groups[0].name}": 0.5}

    def test_results_of_groups_are_not_shown_as_layers(self, served: Workspace, open_page: OpenPage):
        session = seed_groups(served, "resnet")
        self.store(served, session, self.result(grouped("resnet").sheet))
        assert "From the weights only" in text_of(open_page("sensitivity", session=session.id))

    def test_first_numbers_are_not_measured_cells_and_make_no_sentence(self):
        sheet = grouped("resnet").sheet
        names = [group.name for group in sheet.groups]
        first, last = self.result(sheet, settled=False), self.result(sheet)
        assert shown_cells(first) == measured_cells(last) == len(names) * len(LEVELS)
        assert measured_cells(first) == 0
        assert verdict(first, names, "accuracy") == ""
        assert "groups lose less" in verdict(last, names, "accuracy")
        shown = heatmap_figure(first, names, "score", metric="accuracy", overrides={}, dark=False)
        assert "a first number: 32 of 1000 images" in shown.data[0].text[0][0]
        assert len(shown.data[1].x) == len(names) * len(LEVELS)  # rings
        assert len(heatmap_figure(last, names, "score", metric="accuracy", overrides={}, dark=False).data) == 1


def test_the_click_callback_survives_a_chart_that_is_replaced(monkeypatch: pytest.MonkeyPatch):
    from dashboard.components import sensitivity_pins

    state = {"chart": {"selection": {"points": [{"customdata": ["head", 0.3]}]}}}
    monkeypatch.setattr(st, "session_state", state)
    sensitivity_pins.remember_click("chart")
    assert sensitivity_pins.click_pending()
