"""The images whose prediction a variant changed: made by a job, shown a few at a time."""

import functools
from collections.abc import Sequence

import streamlit as st

from core.analysis.gallery import Gallery
from core.errors import EspalierError
from core.store.records import Job, Measurement, Session, Variant
from dashboard import backend
from dashboard.components.format import escape, short, whole
from dashboard.components.gallery_pictures import STYLE, flip_html, legend_of, mask_html
from dashboard.components.jobs import job_banner, submit

__all__ = ["draw_gallery", "kept_by", "show_gallery", "stored_gallery", "told"]

_MASKS, _FLIPS = 24, 96
_MASKS_PER_PAGE, _FLIPS_PER_PAGE = 4, 12
_KINDS = {
    "worse": "right → wrong",
    "better": "wrong → right",
    "other": "wrong either way",
}
_CONFIDENCES = {
    "sure": ("over 90 %", 0.9),
    "between": ("50 to 90 %", 0.5),
    "unsure": ("under 50 %", 0.0),
}


def draw_gallery(variant: Variant, session: Session, measurements: Sequence[Measurement]) -> None:
    """The newest gallery of a variant, or the way to one."""
    job = _newest_job(session.id, variant.id)
    if job is not None and job.state.live:
        job_banner(job, key="gallery")
        return
    newest = max((m for m in measurements if m.kind == "gallery"), key=lambda m: m.created, default=None)
    if newest is None:
        st.caption(
            "See the test images whose prediction is not the dense model's any more. They are looked for in the "
            "background, and kept with the variant."
        )
        _start(variant, session)
        if job is not None:
            job_banner(job, key="gallery-ended")
        return
    try:
        gallery = stored_gallery(newest)
    except EspalierError as error:
        st.error(escape(error, markdown=True), icon=":material/broken_image:")
        _start(variant, session)
        return
    show_gallery(gallery, variant.id)


def show_gallery(gallery: Gallery, key: str) -> None:
    """What changed, in words and pictures."""
    st.caption(escape(told(gallery), markdown=True))
    if not len(gallery):
        return
    if gallery.task == "segmentation":
        _masks(gallery, key)
    else:
        _flips(gallery, key)


def stored_gallery(newest: Measurement) -> Gallery:
    """The gallery that a measurement names; EspalierError when it cannot be read."""
    return _gallery(str(newest.result.get("artifact")), str(backend.workspace().folder))


def told(gallery: Gallery) -> str:
    """How many predictions changed, and which of them are shown."""
    of = f"{whole(gallery.n)} {gallery.split} images"
    what = "the predicted class" if gallery.task == "classification" else "the class of some pixel"
    if not gallery.changed:
        return f"On none of the {of} did {what} change."
    every = gallery.changed == len(gallery)
    kept = "All" if every else f"{len(gallery)}"
    how = (
        "are kept here, the most changed first"
        if gallery.task == "segmentation"
        else "are kept here, the classes taking turns"
    )
    return f"On {whole(gallery.changed)} of the {of} {what} changed. {kept} of them {how}."


def kept_by(
    gallery: Gallery, *, label: int | None = None, kind: str | None = None, confidence: str | None = None
) -> list[int]:
    """Flips of a true class, of one kind (worse, better, other), and by how sure the pruned network is of its answer
    (sure, between, unsure; an answer that is not finite is in none); None keeps all."""
    found = []
    for index in range(len(gallery)):
        truth = int(gallery.truth[index])
        before, after = int(gallery.dense[index]) == truth, int(gallery.pruned[index]) == truth
        mine = "worse" if before else "better" if after else "other"
        value = float(gallery.pruned_value[index])
        how_sure = next((name for name, (_, least) in _CONFIDENCES.items() if value >= least), "")
        if label in (None, truth) and kind in (None, mine) and confidence in (None, how_sure):
            found.append(index)
    return found


@functools.lru_cache(maxsize=4)
def _gallery(artifact: str, _workspace: str) -> Gallery:
    return Gallery.load(backend.workspace().artifacts.path(artifact))


def _newest_job(session_id: str, variant_id: str) -> Job | None:
    jobs = backend.store().jobs(session_id=session_id)
    return next((job for job in jobs if job.kind == "gallery" and job.payload.get("variant_id") == variant_id), None)


def _start(variant: Variant, session: Session) -> None:
    if st.button("Find the images that changed", icon=":material/image_search:", key=f"gallery-start-{variant.id}"):
        images = _MASKS if variant.metrics.get("test", {}).get("metric") == "mIoU" else _FLIPS
        payload = {"variant_id": variant.id, "images": images}
        submit("gallery", payload, session=session, title=f"Images changed by {short(variant.name, 40)}")
        st.rerun()


def _masks(gallery: Gallery, key: str) -> None:
    chosen = _page(list(range(len(gallery))), _MASKS_PER_PAGE, key)
    st.html(STYLE + legend_of(gallery, chosen))
    for index in chosen:
        st.html(mask_html(gallery, index))
    st.caption(
        "Lines enclose the pixels on which dense and pruned differ. These images were chosen because they "
        "changed most: the change of the mIoU, above, is what counts."
    )


def _flips(gallery: Gallery, key: str) -> None:
    labels = sorted({int(label) for label in gallery.truth})
    numbers = {label: len(kept_by(gallery, label=label)) for label in labels}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox(
            "True class",
            [None, *labels],
            format_func=lambda value: (
                "all classes" if value is None else f"{short(gallery.class_names[value], 30)} ({numbers[value]})"
            ),
            key=f"gallery-class-{key}",
            width=220,
        )
        kind = st.pills("Kind", list(_KINDS), format_func=_KINDS.__getitem__, key=f"gallery-kind-{key}")
        sure = st.pills(
            "Confidence after pruning",
            list(_CONFIDENCES),
            format_func=lambda value: f"{_CONFIDENCES[value][0]} ({len(kept_by(gallery, confidence=value))})",
            key=f"gallery-confidence-{key}",
        )
    found = kept_by(gallery, label=label, kind=kind, confidence=sure)
    if not found:
        st.caption("No kept image is of this class, kind and confidence.")
        return
    st.html(STYLE + flip_html(gallery, _page(found, _FLIPS_PER_PAGE, f"{key}-{label}-{kind}-{sure}")))


def _page(items: list[int], size: int, key: str) -> list[int]:
    """The items of the page that is chosen; the choice is drawn where there is one."""
    pages = -(-len(items) // size)
    if pages < 2:
        return items
    place = f"gallery-page-{key}"
    page = min(max(int(st.session_state.get(place, 0)), 0), pages - 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        back = st.button("", icon=":material/chevron_left:", key=f"{place}-back", disabled=page == 0, help="Previous")
        on = st.button("", icon=":material/chevron_right:", key=f"{place}-on", disabled=page == pages - 1, help="Next")
        st.caption(f"{page * size + 1} to {min(len(items), (page + 1) * size)} of {len(items)}")
    if back or on:
        st.session_state[place] = page + (1 if on else -1)
        st.rerun()
    return items[page * size : (page + 1) * size]
