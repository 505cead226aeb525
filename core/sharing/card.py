"""The model card of a variant: what it is, how it was made, what was measured, and what that does not say.

Facts become sections of plain text here; ``card_text`` writes them as Markdown and HTML. Knows no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.class_changes import class_changes
from ..analysis.evaluation import Evaluation
from ..analysis.statistics import compare_paired
from ..errors import EspalierError, StoreError
from ..store import Workspace
from ..wording import percent
from .card_text import Block, Code, Items, Section, Table, Text, as_html, as_markdown
from .plan_words import plan_sentences
from .snapshot import Snapshot, VariantPart, take_snapshot

__all__ = ["ModelCard", "card_of", "model_card"]

_CLASSES = 10


@dataclass(frozen=True)
class ModelCard:
    """A model card; ``markdown`` and ``html`` say the same. The HTML is one page that needs nothing else."""

    title: str
    sections: tuple[Section, ...]

    @property
    def markdown(self) -> str:
        """The card as Markdown."""
        return as_markdown(self.title, self.sections)

    @property
    def html(self) -> str:
        """The card as one HTML page."""
        return as_html(self.title, self.sections)


def model_card(workspace: Workspace, variant_id: str) -> ModelCard:
    """The card of a variant of this workspace.

    Raises:
        StoreError: when there is no such variant.
    """
    variant = workspace.store.get_variant(variant_id)
    return card_of(workspace, take_snapshot(workspace, variant.session_id), variant_id)


def card_of(workspace: Workspace, snapshot: Snapshot, variant_id: str) -> ModelCard:
    """The card of a variant of a snapshot, whose artifacts are in this workspace.

    Raises:
        StoreError: when the snapshot has no such variant.
    """
    part = next((part for part in snapshot.variants if part.id == variant_id), None)
    if part is None:
        raise StoreError("There is no such variant; choose one of the session.")
    facts = _Facts(workspace, snapshot, part)
    sections = (
        Section("What it is", tuple(_what(facts))),
        Section("How it was made", tuple(_how(facts))),
        Section("Data", tuple(_data(facts))),
        Section("Accuracy", tuple(_accuracy(facts))),
        Section("Classes that lost", tuple(_classes(facts))),
        Section("Sizes", tuple(_sizes(facts))),
        Section("Latency", tuple(_latency(facts))),
        Section("ONNX file", tuple(_onnx(facts))),
        Section("Limits", tuple(_limits(facts))),
        Section("How to load it", tuple(_loading(facts))),
    )
    return ModelCard(f"{part.name} ({snapshot.model.name})", tuple(section for section in sections if section.blocks))


@dataclass(frozen=True)
class _Facts:
    workspace: Workspace
    snapshot: Snapshot
    variant: VariantPart

    @property
    def is_dense(self) -> bool:
        return self.variant.plan is None

    def pruned_and_dense(self) -> list[VariantPart]:
        """The dense model first, where there is one beside the variant."""
        dense = self.snapshot.dense
        return [self.variant] if dense is None or self.is_dense else [dense, self.variant]

    def newest(self, kind: str, variant_id: str = "") -> Mapping[str, Any] | None:
        wanted = variant_id or self.variant.id
        found = [item for item in self.snapshot.measurements if item.kind == kind and item.variant_id == wanted]
        return found[-1].result if found else None

    def evaluations(self) -> tuple[Evaluation, Evaluation] | None:
        dense, artifacts = self.snapshot.dense, self.workspace.artifacts
        if dense is None or self.is_dense or not dense.evaluation_artifact or not self.variant.evaluation_artifact:
            return None
        try:
            return tuple(  # type: ignore[return-value]
                Evaluation.load(artifacts.path(part.evaluation_artifact or "")) for part in (dense, self.variant)
            )
        except EspalierError:
            return None


def _what(facts: _Facts) -> Iterator[Block]:
    model, variant, sizes = facts.snapshot.model, facts.variant, facts.variant.sizes
    described = model.description
    kind = "The dense model, as it was opened" if facts.is_dense else "A pruned version"
    yield Text(f"{kind} of {model.name}, for {described.get('task', 'vision')}.")
    classes = described.get("class_names") or ()
    rows = [
        ("Model", f"{model.spec.get('source', '')}/{model.name}"),
        ("Input (channels × height × width)", " × ".join(map(str, described.get("input_shape") or ()))),
        ("Classes", f"{described.get('num_classes', len(classes))}{_few(classes)}"),
        ("Parameters", f"{_whole(sizes.get('parameters'))}, of which {_whole(sizes.get('nonzero'))} are not zero"),
        ("Multiply–accumulate operations per image", _whole(sizes.get("macs", described.get("macs")))),
        ("Made", f"{variant.created:%Y-%m-%d} with Espalier {facts.snapshot.espalier}".strip()),
        ("Files (SHA-256)", variant.artifact),
    ]
    yield Table(("", ""), tuple((name, value) for name, value in rows if value))


def _how(facts: _Facts) -> Iterator[Block]:
    if facts.variant.plan is None:
        yield Text("Nothing was removed.")
    else:
        try:
            yield Items(tuple(plan_sentences(facts.variant.plan)))
        except EspalierError as error:
            yield Text(f"Its plan is of another version and is not read here: {error}")
    notes = facts.newest("notes") or {}
    said = (*facts.variant.notes, *(notes.get("notes") or ()))
    if said:
        yield Items(tuple(str(note) for note in said))
    for step in facts.snapshot.lineage:
        day = str(step.get("taken"))[:10]
        yield Text(f"The session is a {step.get('how', 'copy')} of “{step.get('name', '')}” as it was on {day}.")


def _data(facts: _Facts) -> Iterator[Block]:
    data = facts.snapshot.data
    if data is None:
        return
    described = data.description
    counts = described.get("counts") or {}
    yield Table(
        ("", ""),
        (
            ("Data", data.name),
            (
                "Images (train / select / test)",
                " / ".join(_whole(counts.get(key)) for key in ("train", "select", "test")),
            ),
            ("Mean and deviation per channel", f"{_numbers(described.get('mean'))}; {_numbers(described.get('std'))}"),
            ("Fingerprint", data.id),
        ),
    )
    yield Text("Training and calibration saw train, choices were made on select, the numbers below are from test.")


def _accuracy(facts: _Facts) -> Iterator[Block]:
    rows = []
    for part in facts.pruned_and_dense():
        test = part.metrics.get("test") or {}
        if test.get("score") is not None:
            spread = f"{_percent(test.get('low'))} to {_percent(test.get('high'))}"
            rows.append((part.name, str(test.get("metric")), _percent(test["score"]), spread, _whole(test.get("n"))))
    if not rows:
        yield Text("It was not measured.")
        return
    yield Table(("Model", "Metric", "Score", "95 % interval", "Test images"), tuple(rows))
    pair = facts.evaluations()
    if pair is not None:
        try:
            yield Text(f"On the same images, paired: {compare_paired(*pair).sentence}")
        except EspalierError as error:
            yield Text(str(error))


def _classes(facts: _Facts) -> Iterator[Block]:
    pair = facts.evaluations()
    if pair is None:
        return
    try:
        changes = class_changes(*pair)
    except EspalierError as error:
        yield Text(str(error))
        return
    names = facts.snapshot.model.description.get("class_names") or ()
    lost = [change for change in changes if change.differs and change.difference < 0]
    rows = [
        (
            str(names[change.label]) if change.label < len(names) else f"class {change.label}",
            _percent(change.dense),
            _percent(change.variant),
            f"{_points(change.difference)} ({_points(change.low)} to {_points(change.high)}) points",
            _whole(change.images),
        )
        for change in lost[:_CLASSES]
    ]
    if rows:
        yield Table(("Class", "Dense", "This model", "Difference (95 %, all classes at once)", "Images"), tuple(rows))
    if len(lost) > len(rows):
        yield Text(f"{len(lost) - len(rows)} more lost.")
    unsure = len([change for change in changes if not change.differs])
    if unsure:
        yield Text(
            f"For {unsure} of {len(changes)} classes these images show no difference, which does not mean that there "
            "is none."
        )


def _sizes(facts: _Facts) -> Iterator[Block]:
    parts = facts.pruned_and_dense()
    rows = []
    for title, key in (
        ("Parameters", "parameters"),
        ("Not zero", "nonzero"),
        ("Multiply–accumulate operations", "macs"),
        ("Dense file, bytes", "dense_bytes"),
        ("Compressed file, bytes", "sparse_bytes"),
    ):
        values = tuple(_whole(part.sizes.get(key)) for part in parts)
        if any(values):
            rows.append((title, *values))
    exported = [facts.newest("onnx", part.id) or {} for part in parts]
    if any(exported):
        rows.append(("ONNX file, bytes", *(_whole(result.get("size_bytes")) for result in exported)))
    if rows:
        yield Table(("", *(part.name for part in parts)), tuple(rows))


def _latency(facts: _Facts) -> Iterator[Block]:
    result = facts.newest("latency")
    if result is None:
        yield Text("It was not timed. Zeros alone make no dense kernel faster: expect none before you measure.")
        return
    rows = []
    for row in result.get("rows") or ():
        ratio = row.get("ratio")
        known = ratio is not None and row.get("ratio_low") is not None
        rows.append(
            (
                str(row.get("runtime")),
                str(row.get("batch")),
                str(row.get("threads")),
                f"{row.get('median_ms'):.3g} ms",
                f"{ratio:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})" if known else "",
                str(row.get("verdict") or ""),
            )
        )
    heads = ("Runtime", "Batch", "Threads", "Median", "Speed-up over dense (95 %)", "Said")
    yield Table(heads, tuple(rows))
    machine = result.get("machine") or {}
    words = [str(machine.get(key)) for key in ("cpu", "system") if machine.get(key)]
    words += [f"{name} {version}" for name, version in (machine.get("versions") or {}).items()]
    yield Text(f"Measured on: {', '.join(words) or 'an unnamed machine'}. Other machines give other numbers.")
    if result.get("busy"):
        yield Text("The machine was busy meanwhile: the numbers are rough.")


def _onnx(facts: _Facts) -> Iterator[Block]:
    result = facts.newest("onnx")
    if result is None:
        return
    difference, agreement = result.get("max_abs_difference"), result.get("top1_agreement")
    said = [f"Opset {result.get('opset')}, {_whole(result.get('size_bytes'))} bytes."]
    if difference is not None:
        said.append(f"It differs from PyTorch by at most {difference:.1e}.")
    if agreement is not None:
        said.append(f"The predicted class is the same for {_percent(agreement)} of {_whole(result.get('n'))} images.")
    if result.get("batch_sizes"):
        said.append(f"Tried at batch sizes {', '.join(map(str, result['batch_sizes']))}.")
    said.append("All checks passed." if result.get("passed") else "Not all checks passed.")
    yield Items((*said, *(str(problem) for problem in result.get("problems") or ())))


def _limits(facts: _Facts) -> Iterator[Block]:
    test = facts.variant.metrics.get("test") or {}
    said = [
        "The scores hold for images like those of the test split; other images were not looked at.",
        "Robustness, fairness and calibration were not measured.",
    ]
    sizes = facts.variant.sizes
    if sizes.get("nonzero") != sizes.get("parameters"):
        said.append("Removed weights are stored as zeros: ordinary runtimes compute with them and are not faster.")
    yield Items((*said, *(str(warning) for warning in test.get("warnings") or ())))


def _loading(facts: _Facts) -> Iterator[Block]:
    artifact = facts.variant.artifact
    yield Text("From a bundle of its session (espalier bundle SESSION), without the code of its author:")
    lines = [
        "from core.models.traced import TracedModel",
        f'model = TracedModel.load("artifacts/{artifact}/folder").eval()',
        "logits = model.predict(images)  # float32 [N, C, H, W], normalised as above",
    ]
    yield Code("\n".join(lines))
    exported = facts.newest("onnx")
    if exported is not None:
        yield Text("Or the exported file, with ONNX Runtime:")
        lines = [
            "import onnxruntime",
            'session = onnxruntime.InferenceSession("model.onnx")',
            'logits = session.run(None, {"images": images})[0]',
        ]
        yield Code("\n".join(lines))


def _few(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:_CLASSES]))
    return f": {shown}{', …' if len(names) > _CLASSES else ''}" if names else ""


def _whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _percent(value: Any) -> str:
    return percent(value) if isinstance(value, int | float) else "–"


def _points(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:+.1f}".replace("-", "−")


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.4g}" for value in values) if values else "–"
