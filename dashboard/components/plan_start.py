"""Where the plan starts: at the dense model, or at a variant that is pruned further."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.errors import EspalierError, StoreError
from core.jobs.lineage import DESCRIPTION, start_of
from core.pruning.plan import Plan
from core.store.records import JobState, Model, Session, Variant
from dashboard import backend, state
from dashboard.components.format import escape, short
from dashboard.components.jobs import job_banner, latest_job, submit
from dashboard.components.plan_draft import DraftEditor

__all__ = ["Base", "base_of", "draw_reading", "draw_start"]


@dataclass(frozen=True)
class Base:
    """What a plan starts from. ``model`` is None until a variant's layers and groups have been read; ``variant`` is
    None before there is a dense one; ``problem`` says why the plan cannot start there."""

    model: Model | None
    variant: Variant | None
    problem: str | None = None

    @property
    def known_model(self) -> Model:
        """The model, where it has been read."""
        assert self.model is not None
        return self.model

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Bytes and counts of what the plan starts from."""
        return {} if self.variant is None else self.variant.sizes

    @property
    def further(self) -> bool:
        """Whether the plan starts from a variant that was pruned already."""
        return self.variant is not None and self.variant.plan is not None


def base_of(session: Session, dense_model: Model, start: str) -> Base:
    """What a plan with this ``start`` starts from."""
    dense = state.dense_variant(session)
    if not start or dense is None:
        return Base(dense_model, dense)
    store = backend.store()
    try:
        variant = start_of(store, Plan(start=start), dense)
    except EspalierError as error:
        return Base(dense_model, dense, str(error))
    if variant.plan is None:
        return Base(dense_model, dense)
    for named in reversed(store.measurements(variant.id, kind=DESCRIPTION)):
        try:
            return Base(store.get_model(str(named.result.get("model_id"))), variant)
        except StoreError:  # cleared away with other unused files: it can be read again
            continue
    return Base(None, variant)


def draw_start(editor: DraftEditor, base: Base) -> None:
    """The menu; nothing while there is only the dense model to start from."""
    variants = {one.id: one for one in backend.store().variants(editor.session.id) if one.plan is not None}
    if base.problem is not None:
        st.warning(escape(base.problem, markdown=True), icon=":material/link_off:")
        if st.button("Start from the dense model", key="plan-start-dense"):
            editor.edit(lambda plan: plan.changed(start=""), redraw=True)
            st.rerun()
    if not variants:
        return
    now = base.variant.id if base.further and base.variant else ""
    chosen = st.selectbox(
        "Start from",
        ["", *variants],
        index=["", *variants].index(now) if now in variants else 0,
        format_func=lambda one: short(variants[one].name, 44) if one else "the dense model",
        key=f"plan-start-{editor.generation}",
        help="A variant can be pruned further: remove channels first, then mask what is left. Zeros that it has "
        "already count towards the sparsity; methods that train may fill them again.",
    )
    if chosen != now and base.problem is None:
        editor.edit(lambda plan: plan.changed(start=chosen), redraw=True)
        st.rerun()


def draw_reading(session: Session, variant: Variant) -> None:
    """A variant that nobody has planned from yet: its layers and groups are read once, in the background."""
    st.info(f"Reading the layers and groups of **{escape(variant.name, markdown=True)}**, once.")
    job = latest_job(session.id, "describe")
    if job is None or job.payload.get("variant_id") != variant.id or job.state is JobState.DONE:
        job = submit("describe", {"variant_id": variant.id}, session=session, title=f"Layers of {variant.name}")
    job_banner(job, key="describe")
    if not job.state.live and st.button("Read it again", key="plan-start-read"):
        submit("describe", {"variant_id": variant.id}, session=session, title=f"Layers of {variant.name}")
        st.rerun()
