"""The gallery of changed images and the classes that paid on the Compare page, without torch."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from core.analysis.class_changes import class_changes
from core.analysis.gallery import Gallery
from core.store.records import JobState
from dashboard.components.class_colours import class_colours
from dashboard.components.compare_charts import class_change_figure
from dashboard.components.compare_classes import class_frame, paid_words, rests_on
from dashboard.components.compare_gallery import kept_by, told
from dashboard.components.gallery_pictures import coloured, enlarged, flip_html, legend_of, mask_html, outlined, png_uri
from tests.dashboard.conftest import text_of
from tests.dashboard.seeding import CLASSES, evaluation_of, seed_job, seed_session, segmentation_of

NAMES = ("ground", "<b>cat</b>", "dog")


def masks(k=6, size=(12, 16)):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, (k, *size)).astype(np.uint8)
    truth[:, 0, 0] = 255
    pruned = truth.copy()
    pruned[:, 4:8, 4:8] = (pruned[:, 4:8, 4:8] + 1) % 3
    return Gallery(
        task="segmentation",
        split="test",
        data="d" * 64,
        n=40,
        changed=9,
        class_names=NAMES,
        indices=np.arange(k) + 7,
        images=rng.integers(0, 255, (k, *size, 3)).astype(np.uint8),
        truth=truth,
        dense=np.where(truth == 255, 0, truth).astype(np.uint8),
        pruned=np.where(pruned == 255, 0, pruned).astype(np.uint8),
        changed_share=np.full(k, 0.08, np.float32),
        dense_value=np.full(k, 1.0, np.float32),
        pruned_value=np.full(k, 0.92, np.float32),
    )


def flips(k=30):
    rng = np.random.default_rng(4)
    truth = np.arange(k) % 3
    dense = np.where(np.arange(k) % 2 == 0, truth, (truth + 1) % 3)
    pruned = (dense + 1 + np.arange(k) % 4 // 3) % 3
    return dataclasses.replace(
        masks(0),
        task="classification",
        changed=k,
        indices=np.arange(k),
        images=rng.integers(0, 255, (k, 8, 8, 1)).astype(np.uint8),
        truth=truth,
        dense=dense,
        pruned=pruned,
        changed_share=np.ones(k, np.float32),
        dense_value=np.full(k, 0.9, np.float32),
        pruned_value=np.full(k, 0.5, np.float32),
    )


def kept(workspace, variant, gallery, tmp_path):
    gallery.save(tmp_path / "gallery.npz")
    artifact = workspace.artifacts.put_file(tmp_path / "gallery.npz")
    result = {"artifact": artifact, "task": gallery.task}
    return workspace.store.add_measurement(variant_id=variant.id, kind="gallery", context={}, result=result)


def pictures(page):
    return list(dict.fromkeys(re.findall(r"<b>Image (\d+)", text_of(page))))


class TestPictures:
    def test_every_class_has_its_colour_and_what_is_ignored_another(self):
        many = class_colours([f"class {index}" for index in range(60)])
        assert len(set(many)) == 60
        colours = class_colours(NAMES)
        shown = coloured(np.array([[0, 1, 255]], np.uint8), colours)
        assert shown.shape == (1, 3, 3)
        assert len({tuple(pixel) for pixel in shown[0].tolist()}) == 3
        assert "not labelled" in legend_of(masks(), [0])
        assert "dog" in legend_of(masks(), [0, 1])

    def test_lines_run_along_the_borders_of_what_differs_only(self):
        where = np.zeros((12, 16), bool)
        where[4:8, 4:8] = True
        pixels = np.full((12, 16, 3), 100, np.uint8)
        shown, factor = outlined(pixels, where), 24
        inside = shown[4 * factor : 8 * factor, 4 * factor : 8 * factor]
        assert (inside[0] == 255).all()
        assert (inside[5:-5, 5:-5] == 100).all()
        assert (shown[4 * factor - 1, 4 * factor : 8 * factor] == 20).all()
        assert (shown[: 3 * factor] == 100).all()
        assert (outlined(pixels, where & False) == enlarged(pixels)).all()

    @pytest.mark.row("B12")
    def test_names_are_text(self):
        assert "<b>cat" not in mask_html(masks(), 0) + legend_of(masks(), [0]) + flip_html(flips(), [0, 1, 2])
        assert mask_html(masks(), 0).count("<img") == 4
        assert png_uri(np.zeros((4, 4, 1), np.uint8)).startswith("data:image/png;base64,")

    def test_flips_by_class_and_kind(self):
        gallery = flips()
        for label in range(3):
            assert {int(gallery.truth[i]) for i in kept_by(gallery, label=label)} == {label}
        parts = [kept_by(gallery, kind=kind) for kind in ("worse", "better", "other")]
        assert sorted(itertools.chain(*parts)) == list(range(len(gallery)))
        assert "✓ dense" in flip_html(gallery, parts[0][:1])
        assert "✓ pruned" in flip_html(gallery, parts[1][:1])
        sure = dataclasses.replace(gallery, pruned_value=np.linspace(0.0, 1.0, len(gallery), dtype=np.float32))
        parts = [kept_by(sure, confidence=confidence) for confidence in ("unsure", "between", "sure")]
        assert all(parts)
        assert list(itertools.chain(*parts)) == list(range(len(gallery)))
        broken = dataclasses.replace(gallery, pruned=np.full(len(gallery), -1))
        assert "not finite" in flip_html(broken, [0])

    def test_what_is_kept_is_told(self):
        assert told(masks()).startswith(
            "On 9 of the 40 test images the class of some pixel changed. 6 of them are kept"
        )
        nothing = dataclasses.replace(flips(0), changed=0)
        assert told(nothing) == "On none of the 40 test images did the predicted class change."


class TestClasses:
    @pytest.mark.parametrize("make", [lambda e: evaluation_of(e, seed=0, split="test"), segmentation_of])
    def test_who_paid_is_named_most_lost_first(self, make):
        dense, variant = (
            (make(0.02), make(0.4))
            if make is not segmentation_of
            else (make(0.98, split="test"), make(0.6, split="test"))
        )
        found = class_changes(dense, variant)
        frame = class_frame(found, CLASSES)
        assert frame["change (points)"].is_monotonic_increasing
        words = paid_words(found, CLASSES)
        assert words.startswith("Paid: ")
        assert "hold for all classes at once" in rests_on(found)
        shown = class_change_figure(frame, variant="x")
        assert list(shown.data[0].x) == list(frame["change (points)"])
        assert max(shown.data[0].error_x.array) > 0

    def test_the_same_shows_no_difference(self):
        one = evaluation_of(0.1, seed=0, split="test")
        found = class_changes(one, one)
        words = paid_words(found, CLASSES)
        assert words.startswith("No difference shown in any class: with ")
        smallest = float(words.split("about ")[1].split(" points")[0])
        assert smallest == pytest.approx(100 * max(change.high for change in found), abs=6)


GALLERY = {"compare-changes": "Images that changed"}


class TestPage:
    def test_the_job_is_started_for_the_chosen_variant(self, served, open_page):
        seeded = seed_session(served)
        variant = seeded.variants[1].id
        assert "No difference shown in any class" in text_of(
            open_page("compare", session=seeded.session.id, variant=variant)
        )
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=variant)
        page.button(key=f"gallery-start-{seeded.variants[1].id}").click().run()
        jobs = [job for job in served.store.jobs(seeded.session.id) if job.kind == "gallery"]
        assert [job.payload for job in jobs] == [{"variant_id": seeded.variants[1].id, "images": 96}]

    def test_masks_are_shown_a_few_at_a_time(self, served, open_page, tmp_path):
        seeded = seed_session(served, task="segmentation")
        kept(served, seeded.variants[1], masks(), tmp_path)
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=seeded.variants[1].id)
        assert pictures(page) == ["7", "8", "9", "10"]
        page.button(key=f"gallery-page-{seeded.variants[1].id}-on").click().run()
        assert pictures(page) == ["11", "12"]

    def test_flips_are_filtered_by_class(self, served, open_page, tmp_path):
        seeded = seed_session(served)
        kept(served, seeded.variants[1], flips(), tmp_path)
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=seeded.variants[1].id)
        assert text_of(page).count("dense ") >= 12
        page.selectbox(key=f"gallery-class-{seeded.variants[1].id}").set_value(2).run()
        assert set(re.findall(r"true <b>(.*?)</b>", text_of(page))) == {"dog"}

    def test_flips_are_filtered_by_confidence(self, served, open_page, tmp_path):
        seeded = seed_session(served)
        gallery = flips()
        values = np.where(np.arange(len(gallery)) % 3, 0.97, 0.31).astype(np.float32)
        kept(served, seeded.variants[1], dataclasses.replace(gallery, pruned_value=values), tmp_path)
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=seeded.variants[1].id)
        menu = f"gallery-confidence-{seeded.variants[1].id}"
        page.button_group(key=menu).set_value("sure").run()
        assert set(re.findall(r"pruned <b>.*?</b>, (\d+ %)", text_of(page))) == {"97 %"}
        page.button_group(key=menu).set_value("between").run()
        assert "No kept image is of this class, kind and confidence" in text_of(page)

    def test_bad_cases_say_what_happened(self, served, open_page, tmp_path):
        seeded = seed_session(served)
        variant = seeded.variants[1]
        error = "The data “digits” have changed since they were opened; results would not be comparable."
        seed_job(served, seeded.session, "gallery", JobState.FAILED, payload={"variant_id": variant.id}, error=error)
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=variant.id)
        assert any("have changed since they were opened" in item.value for item in page.error)
        kept(served, variant, dataclasses.replace(flips(0), changed=0), tmp_path)
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=variant.id)
        assert "On none of the 40 test images" in text_of(page)
        served.store.add_measurement(variant_id=variant.id, kind="gallery", context={}, result={"artifact": "f" * 64})
        page = open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=variant.id)
        assert any("missing" in item.value for item in page.error)
        assert page.button(key=f"gallery-start-{variant.id}")
        served.store.delete_variant(variant.id)
        assert not open_page("compare", tabs=GALLERY, session=seeded.session.id, variant=variant.id).exception
