"""“Why is it faster, or not?” on the Compare page: counts first, times when measured, hostile names as text."""

import pytest

from core.analysis.speed_difference import LayerDifference, SpeedDifference
from core.store import Workspace
from core.store.records import JobState
from dashboard.components.compare_why import counted, stored_difference, why_figure, why_frame, work_figure
from tests.dashboard.conftest import OpenPage, text_of
from tests.dashboard.seeding import LAYERS, Seeded, model_description, seed_job, seed_session

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def seeded(served: Workspace) -> Seeded:
    return seed_session(served)


def difference(*, verdict: str = "faster", busy: bool = False, names: tuple[str, ...] = ()) -> SpeedDifference:
    layers = tuple(
        LayerDifference(
            names[place] if place < len(names) else row["name"],
            row["stage"],
            tuple(row["weight_shape"]),
            tuple(row["weight_shape"]),
            row["macs"],
            row["macs"],
            0.0,
            0.6,
            0.1,
            0.02 if row["stage"] == "stage2" else 0.1,
        )
        for place, row in enumerate(LAYERS)
    )
    return SpeedDifference("onnxruntime", 1, 2.0, 1.6, 1.25, 1.2, 1.3, verdict, layers, busy, "a processor")


def keep(workspace: Workspace, seeded: Seeded, found: SpeedDifference):
    assert seeded.dense is not None
    return workspace.store.add_measurement(
        variant_id=seeded.variants[-1].id,
        kind="speed_difference",
        context={"before": seeded.dense.id},
        result=found.to_json(),
    )


def test_before_anything_is_timed_there_are_counts_and_a_button(
    seeded: Seeded, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple] = []
    monkeypatch.setattr("dashboard.components.compare_why.submit", lambda *job, **_: asked.append(job))
    page = open_page("compare", session=seeded.session.id)
    words = text_of(page)
    assert "both do the same work" in words
    assert "nothing was timed yet" in words
    assert "In no single layer" not in words
    page.button(key="why-start").click().run()
    assert seeded.dense is not None
    assert asked == [("speed_difference", {"before": seeded.dense.id, "after": seeded.variants[-1].id})]


def test_a_measurement_is_told_in_a_sentence_bars_and_a_table(served, seeded: Seeded, open_page: OpenPage):
    keep(served, seeded, difference(busy=True))
    page = open_page("compare", session=seeded.session.id)
    words = text_of(page)
    assert "0.40 ms less than “dense” (2.00 ms → 1.60 ms): 80 % of that in stage2" in words
    assert "measured" in words
    assert "zeros alone do not make it faster" in words
    assert "The machine was busy" in words
    page.segmented_control(key="why-by").set_value("stages").run()
    assert not page.exception
    assert page.button(key="why-start").label == "Measure again"


def test_the_address_names_the_two_variants(served, seeded: Seeded, open_page: OpenPage):
    one, other = seeded.variants[0].id, seeded.variants[1].id
    page = open_page("compare", session=seeded.session.id, before=one, after=other)
    assert (page.selectbox(key="why-before").value, page.selectbox(key="why-after").value) == (one, other)
    page = open_page("compare", session=seeded.session.id, before="<script>", after=one)
    assert page.selectbox(key="why-before").value == seeded.dense.id  # type: ignore[union-attr]
    page.selectbox(key="why-before").set_value(one).run()
    assert "Choose two different variants" in text_of(page)


def test_a_failed_or_running_measurement_is_said(served, seeded: Seeded, open_page: OpenPage):
    seed_job(served, seeded.session, "speed_difference", JobState.FAILED, title="Why", error="It cannot be exported.")
    words = text_of(open_page("compare", session=seeded.session.id)).replace("\\", "")
    assert "It cannot be exported." in words
    seed_job(served, seeded.session, "speed_difference", JobState.RUNNING, title="Why")
    page = open_page("compare", session=seeded.session.id)
    assert "Nothing else computes meanwhile" in text_of(page)
    assert not [item for item in page.button if item.key == "why-start"]


def test_a_damaged_measurement_is_measured_again(served, seeded: Seeded, open_page: OpenPage):
    assert seeded.dense is not None
    served.store.add_measurement(
        variant_id=seeded.variants[-1].id,
        kind="speed_difference",
        context={"before": seeded.dense.id},
        result={"version": 7},
    )
    words = text_of(open_page("compare", session=seeded.session.id))
    assert "measure them again" in words
    assert "nothing was timed yet" in words


def test_only_the_measurement_of_this_pair_counts(served, seeded: Seeded):
    kept = keep(served, seeded, difference())
    assert seeded.dense is not None
    assert stored_difference([kept], seeded.dense.id) == kept
    assert stored_difference([kept], "another") is None


def test_names_are_text_in_the_picture():
    figure, left_out = why_figure(difference(names=(EVIL, "x" * 400, "🪴" * 90)), "layers", EVIL, "b")
    assert left_out == 0
    assert "<script" not in figure.to_json().replace("\\u003c", "<")
    figure, left_out = why_figure(difference(), "stages", "a", "b")
    assert (len(figure.data[0].x), left_out) == (5, 0)
    assert figure.data[0].x[2] == pytest.approx(0.4)  # milliseconds, not per cent


def test_counts_of_smaller_layers_are_exact(seeded: Seeded):
    description = model_description()
    first = LAYERS[0]
    kept = [{"name": first["name"], "kept_shape": [8, 1, 3, 3], "size": 144, "removed": 72}]
    assert seeded.dense is not None
    after = seeded.dense.model_copy(update={"layers": kept})
    layers = counted(seeded.dense, after, description)
    assert len(layers) == len(LAYERS)
    assert layers[0].after_macs == first["macs"] // 2
    assert layers[0].after_zeros == 0.0  # they are gone, not zero
    figure, left_out = work_figure(layers, "a", "b")
    assert left_out == 0
    assert figure.data[0].x[0] == pytest.approx(first["macs"] / 1e6)
    assert figure.data[1].x[0] == pytest.approx(first["macs"] / 2e6)
    frame = why_frame(layers, timed=False)
    assert next(iter(frame["channels after"])) == "1 → 8"
    assert "saved ms" not in frame.columns
    masked = counted(seeded.dense, seeded.variants[-1], description)
    assert all(layer.after_macs == layer.before_macs for layer in masked)
    assert max(layer.after_zeros for layer in masked) > 0.5
