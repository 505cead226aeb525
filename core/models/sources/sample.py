"""The sample models that come with Espalier."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sample_models import SAMPLES

from ...errors import ModelError
from ...progress import SILENT, Progress
from ..specs import ModelSpec, Weights
from .base import MODEL_SOURCES, BuiltModel, choose_weights, finish, seeded

if TYPE_CHECKING:
    from ..checkpoints import Checkpoint

__all__ = ["SampleSource"]


class SampleSource:
    """Sample models: small networks with weights that come with Espalier."""

    def unavailable(self) -> str | None:
        return None

    def names(self) -> list[str]:
        return list(SAMPLES)

    def weights(self, name: str) -> tuple[Weights, ...]:
        return ("published", "checkpoint", "random")

    def build(
        self, spec: ModelSpec, *, checkpoint: Checkpoint | None = None, progress: Progress = SILENT
    ) -> BuiltModel:
        from sample_models.networks import NETWORKS

        from ..checkpoints import fit_checkpoint, load_checkpoint

        info = SAMPLES[spec.name]
        kind = choose_weights(self, spec)
        found = checkpoint.num_classes if checkpoint else None
        num_classes = spec.num_classes or found or info.num_classes
        if kind == "published" and num_classes != info.num_classes:
            raise ModelError(
                f"The weights of “{spec.name}” have {info.num_classes} classes; leave the number of classes empty, "
                "or choose random weights."
            )
        with seeded(spec.seed):
            module = NETWORKS[spec.name](num_classes)
        facts = info.facts
        if kind == "published":
            shipped = load_checkpoint(info.weights_file)
            notes = fit_checkpoint(module, shipped)
        else:
            notes = finish(module, spec, checkpoint)
        normalised = kind == "published" and bool(facts)
        return BuiltModel(
            module,
            spec.input_shape or info.input_shape,
            info.task,
            num_classes,
            class_names=info.class_names if num_classes == info.num_classes else None,
            mean=tuple(facts["mean"]) if normalised else None,
            std=tuple(facts["std"]) if normalised else None,
            notes=notes,
        )


MODEL_SOURCES.register("sample")(SampleSource())
