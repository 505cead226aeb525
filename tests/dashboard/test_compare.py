"""The Compare page: honest rows, Pareto without false ranks, the file to take away, and what may be deleted."""

import io

import pandas as pd
import pytest

from core.store import Workspace
from core.store.records import JobState
from dashboard.components.compare_charts import class_change_figure, layers_figure, scatter_figure
from dashboard.components.compare_data import overlapping, pareto, per_class_change, rows_of, table
from dashboard.components.compare_export import checks_of
from dashboard.components.compare_scatter import LATENCY, points_of
from dashboard.components.compare_table import ranking_words, settings_of, table_html
from dashboard.components.tables import csv_bytes
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import CLASSES, Seeded, onnx_report, seed_job, seed_measurements, seed_session

ORT = "ONNX Runtime · batch 1 · 1 thread"


@pytest.fixture
def seeded(served: Workspace) -> Seeded:
    return seed_session(served)


def rows(workspace: Workspace, seeded: Seeded):
    variants = workspace.store.variants(seeded.session.id)
    return rows_of(variants, {v.id: workspace.store.measurements(v.id) for v in variants}, macs=15_000_000)


class TestRows:
    def test_dense_comes_first_and_absent_numbers_are_none(self, served: Workspace, seeded: Seeded):
        found = rows(served, seeded)
        assert [row.variant.name for row in found] == ["dense", "LAMP 60 %", "LAMP 90 %"]
        assert found[0].dense
        assert found[0].sparsity == 0.0
        assert found[1].sparsity == pytest.approx(0.6, abs=1e-4)
        assert found[1].onnx_bytes is None
        assert found[1].latency == ()

    def test_measurements_find_their_variant(self, served: Workspace, seeded: Seeded):
        seed_measurements(served, seeded)
        found = rows(served, seeded)
        assert settings_of(found) == [ORT, "PyTorch (eager) · batch 1 · 1 thread"]
        latency = found[2].latency_at(ORT)
        assert latency is not None
        assert latency.ratio == 1.31
        assert found[1].onnx_bytes == 331_412

    def test_the_newest_latency_of_a_setting_wins(self, served: Workspace, seeded: Seeded):
        seed_measurements(served, seeded)
        newest = {
            "variant": seeded.variants[0].id,
            "runtime": "onnxruntime",
            "batch": 1,
            "threads": 1,
            "median_ms": 9.0,
        }
        served.store.add_measurement(
            variant_id=seeded.variants[0].id, kind="latency", context={}, result={"rows": [newest]}
        )
        latency = rows(served, seeded)[1].latency_at(ORT)
        assert latency is not None
        assert latency.median_ms == 9.0

    def test_ranks_only_what_the_measurement_ranked(self, served: Workspace, seeded: Seeded):
        seed_measurements(served, seeded)
        words = ranking_words(rows(served, seeded), ORT)
        assert "LAMP 60 % is not ranked against dense" in words
        assert "LAMP 90 % is faster than dense (1.31×)" in words
        assert ranking_words(rows(served, seeded), "never measured") == ""

    def test_pareto_keeps_what_nothing_beats_in_both(self):
        assert pareto([(3, 0.9), (1, 0.7), (2, 0.65), (2, 0.8), (4, 0.9)]) == [1, 3, 0]
        assert pareto([]) == []

    def test_overlap(self):
        assert overlapping([(0, 2), (5, 6), (1, 3)])
        assert not overlapping([(0, 1), (5, 6), (None, None)])

    def test_change_per_class_is_in_points_and_names_its_classes(self, served: Workspace, seeded: Seeded):
        found = rows(served, seeded)
        change = per_class_change(found[0], found[2], CLASSES)
        assert list(change["class"]) == list(CLASSES)
        assert (change["change (points)"] <= 0).all()
        none = found[2].variant.model_copy(update={"metrics": {"test": {"per_class": [None] * 10}}})
        gone = per_class_change(found[0], rows_of([none], {}, macs=None)[0], ("a",))
        assert gone["change (points)"].isna().all()
        assert list(gone["class"][:2]) == ["a", "class 1"]

    @pytest.mark.row("B45")
    def test_csv_is_complete_and_starts_no_formula(self, served: Workspace, seeded: Seeded):
        seed_measurements(served, seeded)
        served.store.rename_variant(seeded.variants[0].id, "=cmd|' /C calc'!A0")
        found = rows(served, seeded)
        sentences = {seeded.variants[0].id: "-0.8 points"}
        read = pd.read_csv(io.BytesIO(csv_bytes(table(found, sentences, settings=settings_of(found)))))
        assert list(read["variant"]) == ["dense", "'=cmd|' /C calc'!A0", "LAMP 90 %"]
        assert read["against dense"][1] == "'-0.8 points"
        assert read[f"ms ({ORT})"].notna().all()
        assert read["accuracy"][0] == pytest.approx(0.975)

    @pytest.mark.row("B12")
    def test_table_is_escaped(self, served: Workspace, seeded: Seeded):
        served.store.rename_variant(seeded.variants[0].id, "<script>alert(1)</script>")
        html = table_html(rows(served, seeded), {seeded.variants[0].id: "<b>x"}, setting=None)
        assert "<script>" not in html
        assert "<b>x" not in html


class TestPictures:
    def test_scatter_has_intervals_in_both_directions(self, served: Workspace, seeded: Seeded):
        seed_measurements(served, seeded)
        points = points_of(rows(served, seeded), f"{LATENCY}{ORT}", {})
        assert len(points) == 3
        shown = scatter_figure(points, metric="accuracy", cost_title="latency", line=False)
        assert [trace.name for trace in shown.data] == ["variants", "dense"]
        assert all(trace.error_x.array and trace.error_y.array for trace in shown.data)

    def test_the_line_is_drawn_for_exact_costs_only(self, served: Workspace, seeded: Seeded):
        points = points_of(rows(served, seeded), "sparse", {})
        shown = scatter_figure(points, metric="accuracy", cost_title="bytes", line=True)
        assert shown.data[0].name == "not beaten in both"
        assert list(shown.data[0].x) == sorted(point.cost for point in points)

    def test_classes_and_layers(self, served: Workspace, seeded: Seeded):
        found = rows(served, seeded)
        change = per_class_change(found[0], found[2], CLASSES)
        assert len(class_change_figure(change, variant="x").data[0].x) == 10
        layers = layers_figure({row.variant.name: row.variant.layers for row in found[1:]})
        assert [trace.name for trace in layers.data] == ["LAMP 60 %", "LAMP 90 %"]


@pytest.mark.parametrize(("passed", "marks"), [(True, [True] * 4), (False, [True, False, False, True])])
def test_checks_are_told_one_by_one(passed: bool, marks: list[bool]):
    assert [mark for mark, _ in checks_of(onnx_report("a", passed=passed))] == marks


def test_an_unchecked_export_claims_nothing():
    unknown = dict.fromkeys(("checker", "max_abs_difference", "tolerance", "top1_agreement", "passed"))
    assert [mark for mark, _ in checks_of(unknown | {"n": 0, "batch_sizes": []})] == [None] * 4


class TestPage:
    def test_without_variants(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served, variants=False)
        assert "No variant yet" in text_of(open_page("compare", session=seeded.session.id))

    def test_with_the_dense_model_only(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        for variant in seeded.variants:
            served.store.delete_variant(variant.id)
        assert "Only the dense model is here" in text_of(open_page("compare", session=seeded.session.id))

    def test_says_no_difference_where_none_is_shown(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        seed_measurements(served, seeded)
        text = text_of(open_page("compare", session=seeded.session.id))
        assert "no difference shown on 360 images" in text
        assert "10.3 points worse" in text
        assert "measured, n = 360" in text
        assert "not ranked" in text

    def test_segmentation(self, served: Workspace, open_page: OpenPage):
        seeded = seed_session(served, task="segmentation")
        text = text_of(open_page("compare", session=seeded.session.id))
        assert "mIoU" in text
        assert "points worse" in text

    def test_a_busy_machine_is_reported(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        seed_measurements(served, seeded, busy=True)
        page = open_page("compare", session=seeded.session.id)
        assert any("Other work used" in item.value for item in page.warning)

    def test_measure_submits_dense_and_the_chosen(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        page = open_page("compare", session=seeded.session.id)
        page.multiselect(key="latency-variants").set_value([seeded.variants[1].id]).run()
        page.button(key="latency-start").click().run()
        jobs = [job for job in served.store.jobs(seeded.session.id) if job.kind == "measure"]
        assert seeded.dense is not None
        assert [job.payload["variant_ids"] for job in jobs] == [[seeded.dense.id, seeded.variants[1].id]]

    def test_export_submits_and_shows_its_checks(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        seed_measurements(served, seeded, passed=False)
        page = open_page("compare", session=seeded.session.id, variant=seeded.variants[0].id)
        assert "fail" in text_of(page)
        assert any("differs from PyTorch" in item.value for item in page.error)
        page.button(key="export-start").click().run()
        jobs = [job for job in served.store.jobs(seeded.session.id) if job.kind == "export"]
        assert [job.payload["variant_id"] for job in jobs] == [seeded.variants[0].id]

    def test_a_failed_export_stays_visible(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        seed_job(
            served,
            seeded.session,
            "export",
            JobState.FAILED,
            title="ONNX",
            payload={"variant_id": seeded.variants[1].id},
            error="The operation “aten::x” is not in opset 13; choose a newer one.",
        )
        page = open_page("compare", session=seeded.session.id)
        assert any("newer one" in item.value for item in page.error)

    def test_rename(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        page = open_page("compare", session=seeded.session.id)
        target = seeded.variants[1].id
        page.text_input(key=f"rename-{target}").set_value("the small one").run()
        page.button(key=f"rename-go-{target}").click().run()
        assert served.store.get_variant(target).name == "the small one"

    def test_delete_asks_first_and_dense_stays(self, served: Workspace, seeded: Seeded, open_page: OpenPage):
        page = open_page("compare", session=seeded.session.id)
        target = seeded.variants[1].id
        page.button(key=f"delete-{target}").click().run()
        assert len(served.store.variants(seeded.session.id)) == 3
        page.button(key=f"delete-yes-{target}").click().run()
        assert [v.name for v in served.store.variants(seeded.session.id)] == ["dense", "LAMP 60 %"]
        assert seeded.dense is not None
        dense = open_page("compare", session=seeded.session.id, variant=seeded.dense.id)
        assert not [button for button in dense.button if button.key == f"delete-{seeded.dense.id}"]
