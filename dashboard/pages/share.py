"""Share: a frozen report behind a link, for people who only read."""

import streamlit as st

from core.errors import EspalierError
from core.sharing.forking import fork
from core.sharing.links import NOT_FOUND, Report, open_share
from dashboard import backend, state
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
        empty("No report here", NOT_FOUND.removeprefix("There is no report here. "))
        return
    if report.allow_fork:
        _fork(report, token)
    draw_report(report, token)


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
