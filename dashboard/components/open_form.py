"""The form that opens a model and its data: architecture, weights, data set. Needs no torch."""

from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.data.discovery import discover_data
from core.data.roots import data_roots, resolve_folder
from core.data.sources import DATA_SOURCES
from core.data.specs import DataSpec
from core.errors import EspalierError, ModelError
from core.models.sources import MODEL_SOURCES
from core.models.specs import ModelSpec, Weights
from core.reach import confined
from dashboard.opening import CHECKPOINT_SUFFIXES, UPLOAD_MB, begin, data_label, keep_upload, server_checkpoints
from sample_models import SAMPLES

from .format import escape, short, size

__all__ = ["choose_folder", "open_form"]

_SOURCE_TITLES = {
    "sample": "Samples",
    "cifar": "CIFAR ResNets",
    "torchvision": "torchvision",
    "timm": "timm",
    "python": "Your Python file",
}
_WEIGHTS_TITLES: dict[str, str] = {
    "published": "Published",
    "checkpoint": "From a file",
    "random": "Random (untrained)",
}
_TYPED = "Another folder …"
_FIRST_SOURCE = "cifar"
_USUAL_DATA = {"cifar": "cifar10", "sample": "digits"}


def open_form() -> None:
    """Draw the form; opening creates a session and goes to it."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Model", anchor=False)
        model = _model()
    with right:
        st.subheader("Data", anchor=False)
        data = _data(_usual_data(model))
    problem = model if isinstance(model, str) else data if isinstance(data, str) else None
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        clicked = st.button(
            "Open", type="primary", key="open-model", disabled=problem is not None, help=problem, width=160
        )
        if problem:
            st.caption(escape(problem, markdown=True))
    if clicked and isinstance(model, tuple) and isinstance(data, DataSpec):
        spec, upload = model
        try:
            if upload is not None:
                spec = spec.changed(checkpoint=str(keep_upload(upload.name, upload.getvalue())))
        except EspalierError as error:
            st.error(escape(error, markdown=True))
            return
        called = None if upload is None else upload.name
        begin(spec, data, name=f"{spec.name} · {data_label(data)}", upload=called)


def _model() -> tuple[ModelSpec, UploadedFile | None] | str:
    """The model as chosen, with a file that is still to be stored; or, as a sentence, what is missing."""
    sources = [key for key in MODEL_SOURCES if key != "python" or MODEL_SOURCES[key].names()]
    source = st.segmented_control(
        "Source",
        sources,
        default=_FIRST_SOURCE if _FIRST_SOURCE in sources else sources[0],
        required=True,
        wrap=True,
        format_func=lambda key: _SOURCE_TITLES.get(key, key),
        key="open-source",
    )
    source = source or sources[0]
    unavailable = MODEL_SOURCES[source].unavailable()
    if unavailable:
        st.info(escape(unavailable, markdown=True))
        return unavailable
    names = MODEL_SOURCES[source].names()
    name = st.selectbox(
        f"Architecture · {len(names)} known", names, index=0, key=f"open-name-{source}", placeholder="Type to search"
    )
    if not name:
        return "Choose an architecture."
    offered = MODEL_SOURCES[source].weights(name)
    weights = st.segmented_control(
        "Weights",
        offered,
        default=offered[0],
        required=True,
        wrap=True,
        format_func=lambda kind: _WEIGHTS_TITLES.get(kind, kind),
        key=f"open-weights-{source}-{name}",
    )
    return _with_weights(source, name, weights or offered[0])


def _with_weights(source: str, name: str, weights: Weights) -> tuple[ModelSpec, UploadedFile | None] | str:
    upload, checkpoint = None, None
    if weights == "checkpoint":
        upload, checkpoint = _checkpoint()
        if upload is None and checkpoint is None:
            return "Upload a checkpoint" + (", or choose one of the files on this server." if data_roots() else ".")
    elif weights == "random":
        st.caption("Untrained weights: good for looking at structure and latency, not at accuracy.")
    num_classes, input_shape = None, None
    if source != "sample":
        with st.expander("Classes and input size"):
            num_classes = st.number_input(
                "Classes", min_value=1, value=None, placeholder="what the weights or the data say", key="open-classes"
            )
            channels, height, width = st.columns(3)
            sizes = [
                channels.number_input("Channels", min_value=1, value=None, placeholder="auto", key="open-channels"),
                height.number_input("Height", min_value=1, value=None, placeholder="auto", key="open-height"),
                width.number_input("Width", min_value=1, value=None, placeholder="auto", key="open-width"),
            ]
            known = [number for number in sizes if number is not None]
            if known and len(known) < len(sizes):
                return "Give channels, height and width, or leave all three empty."
            input_shape = tuple(int(number) for number in known) or None
    try:
        fields = {"num_classes": num_classes, "input_shape": input_shape, "checkpoint": checkpoint and str(checkpoint)}
        spec = ModelSpec.parse({"source": source, "name": name, "weights": weights, **fields}, error=ModelError)
    except EspalierError as error:
        return str(error)
    return spec, upload


def _checkpoint() -> tuple[UploadedFile | None, Path | None]:
    upload = st.file_uploader(
        "Checkpoint",
        type=[suffix.removeprefix(".") for suffix in CHECKPOINT_SUFFIXES],
        key="open-upload",
        help="A state dict: .safetensors, or .pt/.pth/.th saved with torch.save(model.state_dict(), …). Read as data, "
        f"never run as code. At most {UPLOAD_MB} MB.",
    )
    files = dict(server_checkpoints())
    if upload is not None or not files:
        return upload, None

    def label(file: Path) -> str:
        return f"{short(file.relative_to(files[file]), 60)} · {size(file.stat().st_size)}"

    return None, st.selectbox(
        "or a file on this server",
        list(files),
        index=None,
        format_func=label,
        key="open-file",
        placeholder="Choose a file",
    )


def _usual_data(model: tuple[ModelSpec, UploadedFile | None] | str) -> str:
    """The kind of data that a model was most likely made for; where nothing is known, the one that needs no files."""
    if isinstance(model, str):
        return _USUAL_DATA.get(str(st.session_state.get("open-source")), "digits")
    spec = model[0]
    if spec.source == "sample" and spec.name in SAMPLES:
        return SAMPLES[spec.name].data
    return _USUAL_DATA.get(spec.source, "digits")


def _data(usual: str) -> DataSpec | str:
    """The data set as chosen; or, as a sentence, what is missing."""
    sources = list(DATA_SOURCES)
    source = st.selectbox(
        "Kind",
        sources,
        index=sources.index(usual) if usual in sources else 0,
        format_func=lambda key: DATA_SOURCES[key].title,
        key=f"open-data-source-{usual}",
    )
    kind = DATA_SOURCES[source]
    st.caption(escape(DATA_SOURCES.summary(source), markdown=True))
    root, download = None, False
    if kind.needs_folder:
        root = choose_folder(source)
        if kind.can_download:
            download = st.checkbox("Download when missing", key=f"open-download-{source}")
        if not root and not download:
            return "Choose the folder of the data set."
    limit = st.number_input(
        "Images per split at most", min_value=1, value=None, placeholder="all", key="open-limit", step=100
    )
    try:
        if root:
            resolve_folder(root)  # refused here what the job would refuse
        body = {"source": source, "root": root or None, "download": download, "limit": limit}
        return DataSpec.parse(body, error=ModelError)
    except EspalierError as error:
        return str(error)


def choose_folder(source: str, *, key: str = "open") -> str | None:
    """The folder of a data set: one of those that were found, or typed; None where there is none yet."""
    bases = data_roots()
    if confined() and not bases:
        st.caption("This server was started without folders of data; choose data that need none.")
        return None
    found = [
        # Stored relative to the first data root, so that a specification also works on another machine.
        spec.root if base == bases[0] else str(base / spec.root)
        for base in bases
        for spec in discover_data(base)
        if spec.source == source and spec.root
    ]
    chosen: str | None = _TYPED
    if found:
        chosen = st.selectbox("Folder", [*found, _TYPED], key=f"{key}-folder-{source}")
    if chosen != _TYPED:
        return chosen
    typed = st.text_input(
        "Folder",
        key=f"{key}-typed-{source}",
        placeholder=_where(bases),
    )
    return typed.strip() or None


def _where(bases: tuple[Path, ...]) -> str:
    """What may be typed as a folder."""
    if not bases:
        return "a path on this server"
    return f"below {bases[0].name}/" + ("" if confined() else ", or an absolute path")
