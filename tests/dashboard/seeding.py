"""A workspace as a person would have it after half an hour's work, made of realistic numbers without torch.

One small residual network for 10 classes, its weights drawn at random, a measured sensitivity, the dense variant and
two pruned ones with per-example evaluations, latencies and an ONNX file record. The shapes are those of the contracts;
the numbers follow simple laws, so that tests can reason about them.
"""

import itertools
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.analysis.evaluation import Evaluation
from core.analysis.weights import layer_weights, save_weight_statistics
from core.pruning.plan import Plan
from core.store import Workspace
from core.store.records import Job, JobState, Session, Variant

__all__ = [
    "CLASSES",
    "LAYERS",
    "Seeded",
    "seed_job",
    "seed_measurements",
    "seed_sensitivity",
    "seed_session",
    "sensitivity_result",
    "wilson",
]

CLASSES = tuple(str(digit) for digit in range(10))
TEST_IMAGES = 360
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

#            name              kind      stage     weight shape      output shape   fragility
_NETWORK: list[tuple[str, str, str, tuple[int, ...], tuple[int, ...], float]] = [
    ("stem.conv", "Conv2d", "stem", (16, 1, 3, 3), (16, 32, 32), 1.0),
    ("stage1.0.conv1", "Conv2d", "stage1", (16, 16, 3, 3), (16, 32, 32), 0.45),
    ("stage1.0.conv2", "Conv2d", "stage1", (16, 16, 3, 3), (16, 32, 32), 0.35),
    ("stage1.1.depthwise", "Conv2d", "stage1", (16, 1, 3, 3), (16, 32, 32), 0.75),
    ("stage1.1.pointwise", "Conv2d", "stage1", (16, 16, 1, 1), (16, 32, 32), 0.5),
    ("stage2.0.conv1", "Conv2d", "stage2", (32, 16, 3, 3), (32, 16, 16), 0.3),
    ("stage2.0.conv2", "Conv2d", "stage2", (32, 32, 3, 3), (32, 16, 16), 0.2),
    ("stage2.0.shortcut", "Conv2d", "stage2", (32, 16, 1, 1), (32, 16, 16), 0.6),
    ("stage2.1.conv1", "Conv2d", "stage2", (32, 32, 3, 3), (32, 16, 16), 0.15),
    ("stage3.0.conv1", "Conv2d", "stage3", (64, 32, 3, 3), (64, 8, 8), 0.12),
    ("stage3.0.conv2", "Conv2d", "stage3", (64, 64, 3, 3), (64, 8, 8), 0.08),
    ("head", "Linear", "head", (10, 64), (10,), 0.55),
]


def _layer(name: str, kind: str, stage: str, weight: tuple[int, ...], output: tuple[int, ...]) -> dict[str, Any]:
    size = int(np.prod(weight))
    pixels = int(np.prod(output[1:])) if len(output) > 1 else 1
    return {
        "name": name,
        "kind": kind,
        "stage": stage,
        "prunable": True,
        "weight_shape": list(weight),
        "output_shape": list(output),
        "parameters": size + (weight[0] if kind == "Linear" else 0),
        "macs": size * pixels,
        "calls": 1,
        "nonfinite": 0,
    }


LAYERS: list[dict[str, Any]] = [_layer(*row[:5]) for row in _NETWORK]
_FRAGILITY = {row[0]: row[5] for row in _NETWORK}
SIZES = {layer["name"]: int(np.prod(layer["weight_shape"])) for layer in LAYERS}


@dataclass(frozen=True)
class Seeded:
    """What was put into the workspace."""

    session: Session
    model_id: str
    data_id: str
    dense: Variant | None
    variants: tuple[Variant, ...]


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval, computed here so that the seed does not depend on what it tests."""
    z, p = 1.959964, correct / n
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return float((centre - half) / (1 + z * z / n)), float((centre + half) / (1 + z * z / n))


def weights_of_network(seed: int = 0) -> dict[str, np.ndarray]:
    """Heavy-tailed weights, one array per layer."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer in LAYERS:
        shape = tuple(layer["weight_shape"])
        fan_in = int(np.prod(shape[1:]))
        weights[layer["name"]] = (rng.standard_t(5, size=shape) / np.sqrt(fan_in)).astype(np.float32)
    return weights


def sensitivity_result(
    *, layers: Sequence[str] | None = None, n: int = 500, metric: str = "accuracy"
) -> dict[str, Any]:
    """Each layer falls off with the cube of its sparsity, scaled by its fragility."""
    dense_correct = round(0.972 * n)
    dense_low, dense_high = wilson(dense_correct, n)
    cells: dict[str, list[dict[str, Any]]] = {}
    for name in layers if layers is not None else [layer["name"] for layer in LAYERS]:
        cells[name] = []
        for level in LEVELS:
            gained = 2.4 * _FRAGILITY[name] * level**4
            correct = round(dense_correct * float(np.exp(-1.3 * _FRAGILITY[name] * level**5)))
            low, high = wilson(correct, n)
            cells[name].append(
                {
                    "sparsity": level,
                    "loss": 0.09 + gained,
                    "score": correct / n,
                    "low": low,
                    "high": high,
                    "n": n,
                    "dloss": gained,
                    "dloss_se": 0.004 + 0.08 * gained,
                }
            )
    return {
        "dense": {"loss": 0.09, "score": dense_correct / n, "n": n, "low": dense_low, "high": dense_high},
        "metric": metric,
        "settings": {"levels": list(LEVELS), "criterion": "magnitude", "images": n, "batch_size": 250},
        "layers": cells,
        "n": n,
    }


def model_description(*, task: str = "classification") -> dict[str, Any]:
    """What ``describe_model`` says of the small network."""
    names = [layer["name"] for layer in LAYERS]
    return {
        "name": "digits_resnet",
        "task": task,
        "input_shape": [1, 32, 32],
        "num_classes": 10,
        "class_names": list(CLASSES),
        "captured_by": "symbolic",
        "parameters": sum(layer["parameters"] for layer in LAYERS),
        "macs": sum(layer["macs"] for layer in LAYERS),
        "layers": LAYERS,
        "notes": [],
        "mean": [0.3],
        "std": [0.37],
        "edges": [list(pair) for pair in itertools.pairwise(names)],
    }


def data_description(*, task: str = "classification") -> dict[str, Any]:
    """What ``Splits.describe`` says of the digits."""
    return {
        "name": "digits",
        "task": task,
        "classes": list(CLASSES),
        "class_names": list(CLASSES),
        "counts": {"train": 1000, "select": 437, "test": TEST_IMAGES},
        "input_shape": [1, 32, 32],
        "mean": [0.3],
        "std": [0.37],
        "notes": [],
    }


def per_layer_rows(sparsity: float, *, seed: int = 0) -> list[dict[str, Any]]:
    """What went where: big late layers give most, small early ones least; the totals are exact."""
    target = round(sparsity * sum(SIZES.values()))
    appetite = np.array([SIZES[layer["name"]] * (1.0 - 0.7 * _FRAGILITY[layer["name"]]) for layer in LAYERS])
    sizes = np.array([SIZES[layer["name"]] for layer in LAYERS])
    removed = np.minimum(np.floor(target * appetite / appetite.sum()), np.floor(0.97 * sizes)).astype(int)
    for index in np.argsort(-sizes):
        removed[index] += min(target - removed.sum(), int(0.98 * sizes[index]) - removed[index])
    rng = np.random.default_rng(seed)
    return [
        {
            "name": layer["name"],
            "size": int(size),
            "removed": int(gone),
            "sparsity": float(gone / size),
            "energy_removed": float((gone / size) ** 3 * rng.uniform(0.5, 0.7)),
        }
        for layer, size, gone in zip(LAYERS, sizes, removed, strict=True)
    ]


def outcomes(error_rate: float, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, predictions and correctness; the errors of a low rate are, nearly all, part of those of a higher one."""
    rng = np.random.default_rng(7)
    targets = rng.integers(0, 10, TEST_IMAGES)
    difficulty = rng.uniform(size=TEST_IMAGES)
    if seed:
        difficulty = 0.9 * difficulty + 0.1 * np.random.default_rng(seed).uniform(size=TEST_IMAGES)
    wrong = difficulty <= np.quantile(difficulty, error_rate)
    predictions = np.where(wrong, (targets + 3) % 10, targets)
    return targets, predictions, ~wrong


def summary_of(targets: np.ndarray, correct: np.ndarray, *, split: str, metric: str = "accuracy") -> dict[str, Any]:
    """What ``Evaluation.summary`` says."""
    n = len(targets)
    low, high = wilson(int(correct.sum()), n)
    return {
        "n": n,
        "metric": metric,
        "score": float(correct.mean()),
        "low": low,
        "high": high,
        "loss": float(0.05 + 3.0 * (1.0 - correct.mean())),
        "per_class": [float(correct[targets == k].mean()) for k in range(10)],
        "split": split,
    }


def evaluation_of(error_rate: float, *, seed: int, split: str) -> Evaluation:
    """A whole evaluation, as a measurement would store it."""
    targets, predictions, correct = outcomes(error_rate, seed=seed)
    confusion = np.bincount(10 * targets + predictions, minlength=100).reshape(10, 10)
    body = summary_of(targets, correct, split=split)
    return Evaluation(
        split=split,
        data="d" * 64,
        metric="accuracy",
        n=len(targets),
        score=body["score"],
        interval=(body["low"], body["high"]),
        loss=body["loss"],
        per_class=body["per_class"],
        confusion=confusion,
        indices=np.arange(len(targets)),
        losses=np.where(correct, 0.05, 2.5).astype(np.float32),
        agreement=correct.astype(np.float32),
        confidence=np.where(correct, 0.97, 0.6).astype(np.float32),
        correct=correct,
        predictions=predictions,
        targets=targets,
    )


def segmentation_of(quality: float, *, split: str, images: int = 40) -> Evaluation:
    """A segmentation evaluation: ``quality`` is about the share of right pixels."""
    rng = np.random.default_rng(11)
    confusions = np.zeros((images, 10, 10), np.int32)
    for image in range(images):
        for k in range(10):
            pixels = int(rng.integers(40, 160))
            right = round(pixels * min(1.0, quality * rng.uniform(0.96, 1.02)))
            confusions[image, k, k] = right
            confusions[image, k, (k + 1) % 10] = pixels - right
    total = confusions.sum(0)
    union = total.sum(0) + total.sum(1) - total.diagonal()
    per_class = [float(value) for value in total.diagonal() / union]
    score = float(np.mean(per_class))
    return Evaluation(
        split=split,
        data="d" * 64,
        metric="mIoU",
        n=images,
        score=score,
        interval=(score - 0.02, score + 0.02),
        loss=1.2 - score,
        per_class=per_class,
        confusion=total.astype(np.int64),
        indices=np.arange(images),
        losses=np.full(images, 1.2 - score, np.float32),
        agreement=np.full(images, quality, np.float32),
        confidence=np.full(images, quality, np.float32),
        image_confusions=confusions,
    )


def latency_rows(variant_id: str, speedup: float, *, dense: bool) -> list[dict[str, Any]]:
    """Latencies of one variant in both runtimes, one image at a time on one thread, as ``measure`` stores them."""
    rows = []
    for runtime, base_ms in (("onnxruntime", 1.9), ("torch", 7.4)):
        median = base_ms / speedup
        low, high = (1.0, 1.0) if dense else (speedup - 0.06, speedup + 0.07)
        verdict = (
            "reference" if dense else "faster" if low > 1.04 else "slower" if high < 0.96 else "no difference shown"
        )
        rows.append(
            {
                "variant": variant_id,
                "runtime": runtime,
                "batch": 1,
                "threads": 1,
                "median_ms": median,
                "low_ms": 0.97 * median,
                "high_ms": 1.05 * median,
                "ratio": speedup,
                "ratio_low": low,
                "ratio_high": high,
                "noise_low": 0.96,
                "noise_high": 1.04,
                "pairs": 30,
                "ranked": verdict in ("faster", "slower"),
                "verdict": verdict,
            }
        )
    return rows


def onnx_report(artifact: str, *, passed: bool = True) -> dict[str, Any]:
    """What the ``export`` job stores."""
    return {
        "size_bytes": 331_412,
        "opset": 17,
        "exporter": "torchscript",
        "checker": True,
        "max_abs_difference": 2.4e-6 if passed else 0.31,
        "relative_difference": 1e-7 if passed else 0.02,
        "tolerance": 1e-3,
        "top1_agreement": 1.0 if passed else 0.83,
        "n": 64,
        "batch_sizes": [1, 2, 7],
        "passed": passed,
        "problems": [] if passed else ["ONNX Runtime differs from PyTorch by up to 0.31, more than the allowed 0.001."],
        "notes": [],
        "artifact": artifact,
        "filename": "LAMP-80.onnx",
    }


def seed_session(
    workspace: Workspace, *, variants: bool = True, task: str = "classification", name: str = "Digits, an afternoon"
) -> Seeded:
    """A session with its model, its data and, on wish, the dense variant and two pruned ones.

    ``LAMP 60 %`` loses nothing that 360 images could show; ``LAMP 90 %`` clearly does.
    """
    store, artifacts = workspace.store, workspace.artifacts
    with tempfile.TemporaryDirectory() as folder:
        statistics = Path(folder) / "weights.npz"
        save_weight_statistics({k: layer_weights(k, w) for k, w in weights_of_network().items()}, statistics)
        weights_artifact = artifacts.put_file(statistics)
    graph = artifacts.put_bytes(b"{}", ".json")
    spec = {"source": "sample", "name": "digits_resnet"}
    model = store.add_model(
        id="m" * 64,
        name="digits_resnet",
        spec=spec,
        description=model_description(task=task),
        artifact=graph,
        weights_artifact=weights_artifact,
    )
    data = store.add_dataset(
        id="d" * 64, name="digits", spec={"source": "digits"}, description=data_description(task=task)
    )
    session = store.create_session(name)
    store.set_session_model(session.id, model.id)
    session = store.set_session_data(session.id, data.id)
    made: list[Variant] = []
    for label, sparsity, error in (("dense", 0.0, 0.025), ("LAMP 60 %", 0.6, 0.031), ("LAMP 90 %", 0.9, 0.128)):
        if variants:
            made.append(_seed_variant(workspace, session, label, sparsity, error, task, made[0].id if made else None))
    return Seeded(session, model.id, data.id, made[0] if made else None, tuple(made[1:]))


def _seed_variant(
    workspace: Workspace, session: Session, label: str, sparsity: float, error: float, task: str, parent: str | None
) -> Variant:
    def evaluated(split: str) -> Evaluation:
        if task == "segmentation":
            return segmentation_of(1.0 - error, split=split)
        return evaluation_of(error, seed=0 if parent is None else round(100 * sparsity), split=split)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "evaluation.npz"
        evaluated("test").save(file)
        evaluation = workspace.artifacts.put_file(file)
    parameters = sum(layer["parameters"] for layer in LAYERS)
    rows = per_layer_rows(sparsity, seed=round(100 * sparsity))
    nonzero = parameters - sum(row["removed"] for row in rows)
    dense_bytes = 4 * parameters + 4321
    return workspace.store.add_variant(
        session_id=session.id,
        name=label,
        model_id="m" * 64,
        data_id="d" * 64,
        parent_id=parent,
        plan=None if parent is None else Plan(sparsity=sparsity, name=label).to_json(),
        artifact=workspace.artifacts.put_bytes(f"weights of {label}".encode(), ".bin"),
        evaluation_artifact=evaluation,
        metrics={split: evaluated(split).summary() for split in ("select", "test")},
        sizes={
            "dense_bytes": dense_bytes,
            "dense_zstd_bytes": round(0.93 * dense_bytes),
            "sparse_bytes": round(0.93 * dense_bytes * nonzero / parameters + parameters / 9),
            "parameters": parameters,
            "nonzero": nonzero,
        },
        layers=rows,
    )


def seed_sensitivity(workspace: Workspace, *, complete: bool = True, layers: int | None = None) -> str:
    """A measured sensitivity of the seeded model; with ``layers`` only that many are there yet."""
    names = [layer["name"] for layer in LAYERS][:layers]
    result = sensitivity_result(layers=names)
    return workspace.store.put_sensitivity(
        key="s" * 64, model_id="m" * 64, data_id="d" * 64, settings=result["settings"], result=result, complete=complete
    ).id


def seed_measurements(workspace: Workspace, seeded: Seeded, *, busy: bool = False, passed: bool = True) -> bytes:
    """Latencies of all variants and an ONNX file of the first pruned one; returns the bytes of that file."""
    assert seeded.dense is not None
    shared = {
        "machine": {"cpu": "Example CPU with 2 cores", "system": "Linux"},
        "busy": busy,
        "sentence": "Other work used 1.4 cores meanwhile; repeat it when the machine is quiet." if busy else "",
    }
    for variant, speedup in ((seeded.dense, 1.0), (seeded.variants[0], 1.02), (seeded.variants[1], 1.31)):
        rows = latency_rows(variant.id, speedup, dense=variant.plan is None)
        workspace.store.add_measurement(
            variant_id=variant.id, kind="latency", context={}, result={**shared, "rows": rows}
        )
    body = b"\x08\x08 not a real graph, but real bytes"
    report = onnx_report(workspace.artifacts.put_bytes(body, ".onnx"), passed=passed)
    workspace.store.add_measurement(variant_id=seeded.variants[0].id, kind="onnx", context={}, result=report)
    return body


def seed_job(
    workspace: Workspace,
    session: Session,
    kind: str,
    state: JobState,
    *,
    title: str = "",
    payload: Mapping[str, Any] | None = None,
    partial: Mapping[str, Any] | None = None,
    error: str | None = None,
    traceback: str | None = None,
    result: Mapping[str, Any] | None = None,
    message: str = "Measuring stage2.0.conv1",
) -> Job:
    """A job as a runner of another process would leave it, half done where it is running. Nobody works on it."""
    store = workspace.store
    owner = f"seed-{uuid.uuid4().hex}"
    job = store.create_job(kind, payload or {"seed": owner}, owner=owner, session_id=session.id, title=title)
    if state is JobState.QUEUED:
        return job
    store.claim_job([kind], owner=owner)
    store.update_job(job.id, done=45.0, total=108.0, message=message, eta_s=74.0)
    if partial is not None:
        store.put_partial(job.id, partial)
    if not state.live:
        store.finish_job(job.id, state, result=result, error=error, traceback=traceback)
    return store.get_job(job.id)
