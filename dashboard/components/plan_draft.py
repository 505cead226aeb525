"""The draft plan of a session: edits with undo and redo, saved under a revision so that no tab overwrites another.

The draft lives in the store. ``st.session_state`` holds only what the tab needs to edit it: the revision that this
tab has seen, the stack of earlier drafts, and a generation number that forces widgets to be drawn anew when the draft
changes without them (undo, import, a pin from the heat-map, a reload).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from core.errors import AccessError, EspalierError, StoreError
from core.pruning.plan import Plan
from core.store.records import Session
from dashboard import backend
from dashboard.components.format import escape

__all__ = ["DraftEditor", "EditHistory", "draft_of", "normalised", "with_bulk", "with_override"]

_DEPTH = 100


@dataclass
class EditHistory:
    """Earlier and undone drafts of one tab, newest last."""

    past: list[dict[str, Any]] = field(default_factory=list)
    future: list[dict[str, Any]] = field(default_factory=list)

    def edited(self, before: Plan) -> None:
        """Remember what the draft was before an edit; whatever had been undone is gone."""
        self.past = [*self.past, before.to_json()][-_DEPTH:]
        self.future = []

    def undo(self, now: Plan) -> Plan:
        """The draft before the last edit; ``now`` can be had back by ``redo``."""
        earlier = self.past.pop()
        self.future.append(now.to_json())
        return Plan.parse(earlier)

    def redo(self, now: Plan) -> Plan:
        """The draft that the last ``undo`` took away."""
        later = self.future.pop()
        self.past.append(now.to_json())
        return Plan.parse(later)


def draft_of(session: Session) -> Plan:
    """The session's draft; the default plan where there is none yet or where the stored one is not readable."""
    try:
        return Plan.parse(session.draft_plan or {})
    except EspalierError:
        return Plan()


def normalised(plan: Plan) -> Plan:
    """The same plan with layers in a stable order: equal plans compare equal whatever order they were edited in."""
    return plan.changed(
        overrides={name: round(value, 4) for name, value in sorted(plan.overrides.items())},
        patterns=dict(sorted(plan.patterns.items())),
        protected=tuple(sorted(set(plan.protected))),
    )


def with_override(plan: Plan, layer: str, sparsity: float | None) -> Plan:
    """Fix one layer's sparsity (which ends its protection or pattern), or free the layer with None."""
    if sparsity is None:
        return normalised(plan.changed(overrides={n: s for n, s in plan.overrides.items() if n != layer}))
    return with_bulk(plan, [layer], "fix", sparsity)


def with_bulk(plan: Plan, layers: Sequence[str], action: str, sparsity: float = 0.0, pattern: str = "") -> Plan:
    """``action`` on layers, ending what was before: ``protect``, ``fix`` (at ``sparsity``), ``pattern`` or ``free``."""
    chosen = set(layers)
    overrides = {name: value for name, value in plan.overrides.items() if name not in chosen}
    patterns = {name: value for name, value in plan.patterns.items() if name not in chosen}
    protected = tuple(name for name in plan.protected if name not in chosen)
    if action == "protect":
        protected = (*protected, *layers)
    elif action == "fix":
        overrides |= dict.fromkeys(layers, sparsity)
    elif action == "pattern":
        patterns |= dict.fromkeys(layers, pattern)
    return normalised(plan.changed(overrides=overrides, patterns=patterns, protected=protected))


class DraftEditor:
    """The draft of one session as one tab edits it. Make a new one per script run: the state is in session_state."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._state = st.session_state.setdefault(f"draft:{session.id}", {"seen": session.revision, "generation": 0})
        self.history: EditHistory = st.session_state.setdefault(f"draft-history:{session.id}", EditHistory())
        self.plan = normalised(draft_of(session))

    @property
    def generation(self) -> int:
        """Part of every widget key of the page: it grows when the draft changes without its widgets."""
        return int(self._state["generation"])

    @property
    def conflict(self) -> bool:
        """Whether somebody else has saved since this tab last read or wrote the draft."""
        return bool(self.session.revision != self._state["seen"])

    def reload(self) -> None:
        """Take what the other tab saved; this tab's undo stack would not fit it any more."""
        self._state |= {"seen": self.session.revision, "generation": self.generation + 1}
        self.history.past.clear()
        self.history.future.clear()

    def edit(self, change: Callable[[Plan], Plan], *, redraw: bool = False) -> bool:
        """Apply ``change`` and save it. ``redraw`` when the widgets on the page do not show the change already.

        Returns False, having saved nothing, when the draft is stale.

        Raises:
            PlanError: when the change gives a plan that is out of range.
        """
        before, after = self.plan, normalised(change(self.plan))
        if after == before:
            return True
        if not self._save(after):
            return False
        self.history.edited(before)
        if redraw:
            self._state["generation"] = self.generation + 1
        return True

    def undo(self) -> None:
        """Step back. Does nothing when there is nothing to undo."""
        if self.history.past:
            self._step(self.history.undo)

    def redo(self) -> None:
        """Step forward again. Does nothing when nothing was undone."""
        if self.history.future:
            self._step(self.history.redo)

    def _step(self, step: Callable[[Plan], Plan]) -> None:
        past, future = list(self.history.past), list(self.history.future)
        if self._save(step(self.plan)):
            self._state["generation"] = self.generation + 1
        else:
            self.history.past, self.history.future = past, future

    def _save(self, plan: Plan) -> bool:
        if self.conflict:
            return False
        try:
            session = backend.store().save_draft(self.session.id, plan.to_json(), revision=self._state["seen"])
        except AccessError as error:
            # Somebody else's session: the widgets go back to what it says.
            st.toast(escape(error, markdown=True), icon=":material/visibility:")
            self._state["generation"] = self.generation + 1
            return False
        except StoreError:
            # Another tab was quicker between our read and our write: read again, which shows the conflict.
            self.session = backend.store().get_session(self.session.id)
            if self.session.revision == self._state["seen"]:
                raise
            return False
        self.session, self.plan = session, plan
        self._state["seen"] = session.revision
        return True
