"""Share: a frozen report behind a link, for people who only read."""

from typing import Any

import streamlit as st

from core.errors import EspalierError
from core.sharing.forking import fork
from core.sharing.links import NOT_FOUND, Report, open_share
from core.sharing.snapshot import Snapshot
from dashboard import backend, state
from dashboard.components.code_drawer import code_drawer
from dashboard.components.empty import empty
from dashboard.components.format import escape
from dashboard.components.report_page import draw_report

TITLE = "Report"
ICON = ""
URL = "share"
ORDER = 200
PUBLIC = True
LISTED = False

_LONGEST = 200


def render() -> None:
    """Draw the page."""
    token = str(st.query_params.get("token") or "")[:_LONGEST]
    try:
        report = open_share(backend.workspace(), token)
    except EspalierError:
        said = NOT_FOUND.removeprefix("There is no report here. ")
        empty("No report here", said, alone=True, action="Go to Start", url="start")
        return
    if report.allow_fork:
        _fork(report, token)
    draw_report(report, token)
    code_drawer("share", _facts(report.snapshot))


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    """What the drawer needs to make the newest variant again; paths were taken out when the report was frozen."""
    plans = {part.id: part.plan for part in snapshot.variants if part.plan}
    line = [plans[list(plans)[-1]]] if plans else []
    while line and (start := line[0].get("start")) in plans:
        line.insert(0, plans[start])
    return {
        "model": snapshot.model.spec,
        "data": snapshot.data.spec if snapshot.data else None,
        "plan": line[-1] if line else None,
        "before": line[:-1],
    }


def _fork(report: Report, token: str) -> None:
    """The way to a session of one's own."""
    with st.container(key="report-fork", horizontal=True, vertical_alignment="center"):
        st.caption("You are reading a frozen report. To go on from here, take a copy of your own.")
        if st.button("Fork", icon=":material/fork_right:", key="report-fork-go", help="Model, plans and variants"):
            try:
                session = fork(backend.workspace(), token, name=report.title)
            except EspalierError as error:
                st.error(escape(error, markdown=True))
                return
            state.open_session(session.id, page="compare")
