"""A session that came from another machine asks for the folder of its data; only the same data are taken."""

import streamlit as st

from core.data.roots import resolve_folder
from core.data.sources import DATA_SOURCES
from core.data.specs import DataSpec
from core.errors import DataError, EspalierError
from core.store.records import Session
from dashboard import backend, state

from .format import escape, short
from .jobs import job_banner, latest_job, submit
from .open_form import choose_folder

__all__ = ["draw"]


def draw(session: Session) -> None:
    """Nothing, unless the data of the session did not travel along."""
    if session.data_id is None:
        return
    data = backend.store().get_dataset(session.data_id)
    if not data.description.get("away") or not state.may_edit(session.id):
        return
    job = latest_job(session.id, "open")
    if job is not None and job.state.live:
        job_banner(job, key="data-away")
        return
    source = str(data.spec.get("source"))
    with st.expander(
        f"The data “{escape(short(data.name, 60), markdown=True)}” did not travel along",
        icon=":material/folder_off:",
        key="data-away",
    ):
        st.caption("What was measured is here. To go on measuring, say where the same data lie on this machine.")
        if job is not None:
            job_banner(job, key="data-away-ended")
        if source not in DATA_SOURCES:
            st.caption("This Espalier does not know data of this kind; they cannot be opened here.")
            return
        folder = choose_folder(source, key="data-away")
        if st.button("Open the data", type="primary", disabled=not folder, key="data-away-go") and folder:
            try:
                resolve_folder(folder)  # refused here what the job would refuse
                spec = DataSpec.parse({**data.spec, "root": folder}, error=DataError)
            except EspalierError as error:
                st.error(escape(error, markdown=True))
                return
            submit("open", {"model": None, "data": spec.to_json()}, session=session, title="Opening the data")
            st.rerun()
