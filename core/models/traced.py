"""``TracedModel``: one representation for every model, whoever wrote it.

Standard ``torch.nn`` modules under their original names, joined by functions of the canonical vocabulary, in an
``fx.GraphModule``. It trains, takes masks and hooks by name, can be cut open in the middle, and is saved and loaded
without the author's code.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError
from . import graph_file, partial_run
from .assembly import assemble
from .layers import PRUNABLE
from .specs import Task

__all__ = ["TracedModel", "main_output"]


def main_output(output: Any) -> Tensor:
    """The main logits of a model's output: ``out`` or ``logits`` of a dict, else the first tensor.

    Raises:
        ModelError: when the output holds no tensor.
    """
    while not isinstance(output, Tensor):
        if isinstance(output, Mapping) and output:
            key = next((key for key in ("out", "logits") if key in output), next(iter(output)))
            output = output[key]
        elif isinstance(output, tuple | list) and output:
            output = output[0]
        else:
            raise ModelError(f"The model returns {type(output).__name__} where logits were expected.")
    return output


class TracedModel:
    """A captured model. Make one with ``trace`` or ``TracedModel.load``.

    Attributes:
        graph_module: the runnable graph; parameters may be changed in place.
        input_shape: (C, H, W) of one image.
        task: ``classification`` or ``segmentation``.
        origin: where the model came from (JSON).
        captured_by: ``symbolic`` or ``export``.
        original_names: names in the author's state dict, where they are not the names in ``graph_module``:
            ``…self_attention.in_proj.weight`` is the author's ``…self_attention.in_proj_weight``; a tied one has two.
    """

    def __init__(
        self,
        graph_module: fx.GraphModule,
        *,
        input_shape: tuple[int, int, int],
        task: Task = "classification",
        origin: dict[str, Any] | None = None,
        captured_by: str = "symbolic",
        original_names: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.graph_module = graph_module
        self.input_shape = input_shape
        self.task: Task = task
        self.origin: dict[str, Any] = dict(origin or {})
        self.captured_by = captured_by
        self.original_names: dict[str, tuple[str, ...]] = dict(original_names or {})
        self._num_classes: int | None = None

    def __repr__(self) -> str:
        nodes = len(self.graph_module.graph.nodes)
        return f"TracedModel({self.task}, input {list(self.input_shape)}, {nodes} nodes, by {self.captured_by})"

    # -- running --------------------------------------------------------------------------------------------------

    def __call__(self, x: Tensor) -> Any:
        """The original output structure for images ``[N, C, H, W]``."""
        return self.graph_module(x)

    def predict(self, x: Tensor) -> Tensor:
        """Main logits: ``[N, classes]``, or ``[N, classes, H, W]`` for segmentation. Gradients flow."""
        return main_output(self.graph_module(x))

    def suffix(self, layer: str) -> tuple[fx.Node, ...]:
        """The nodes that a change of ``layer``'s parameters can reach: from its first use to the output."""
        return partial_run.suffix(self.graph_module, layer)

    def prefix(self, x: Tensor, layer: str) -> partial_run.Activations:
        """Run up to the first use of ``layer``; what the rest needs is kept."""
        return partial_run.prefix(self.graph_module, x, layer)

    def resume(self, activations: partial_run.Activations, layer: str) -> Tensor:
        """Run the rest from ``prefix``'s result: the main logits, exactly those of ``predict``."""
        return main_output(partial_run.resume(self.graph_module, activations, layer))

    @property
    def num_classes(self) -> int:
        """Size of dimension 1 of the main output (pruning never changes it)."""
        if self._num_classes is None:
            from .shapes import output_shape  # not at the top: shapes works on traced models

            self._num_classes = output_shape(self)[1]
        return self._num_classes

    # -- state ----------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next((tensor.device for tensor in self.graph_module.parameters()), torch.device("cpu"))

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        return self.graph_module.training

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout drops, batch norm uses and updates batch statistics."""
        self.graph_module.train(mode)
        return self

    def eval(self) -> Self:
        """Evaluation mode."""
        return self.train(False)

    def to(self, device: torch.device | str) -> Self:
        """Move parameters, buffers and constants."""
        self.graph_module.to(device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "TracedModel":
        return self.clone()

    def clone(self, replaced: Mapping[int, Tensor] | None = None) -> "TracedModel":
        """A deep copy with independent weights.

        ``replaced`` holds, by ``id``, what stands in the copy in place of a parameter or buffer (surgery slices them):
        tied tensors stay tied.
        """
        memo: dict[int, Any] = dict(replaced or {})
        layers: dict[str, nn.Module] = {}
        for node in self.graph_module.graph.nodes:
            if node.op == "call_module" and node.target not in layers:
                source = self.graph_module.get_submodule(node.target)
                layers[node.target] = copy.deepcopy(source, memo)
        held = {f"{name}.{leaf}" for name, layer in layers.items() for leaf, _ in _tensors(layer)}
        temporary = graph_file.temporary_names(self.graph_module)
        extra = {name: copy.deepcopy(tensor, memo) for name, tensor in _tensors(self.graph_module) if name not in held}
        graph = fx.Graph()
        output = graph.graph_copy(self.graph_module.graph, {})
        graph.output(output)
        module = assemble(graph, layers, extra, temporary=temporary)
        module.training = self.graph_module.training
        twin = TracedModel(
            module,
            input_shape=self.input_shape,
            task=self.task,
            origin=copy.deepcopy(self.origin),
            captured_by=self.captured_by,
            original_names=self.original_names,
        )
        twin._num_classes = self._num_classes
        return twin

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters under the author's names, shared ones once."""
        for name, parameter in self.graph_module.named_parameters():
            yield self.original_names.get(name, (name,))[0], parameter

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers under the author's names; shared tensors under each of their names."""
        return {
            original: tensor
            for name, tensor in self.graph_module.state_dict().items()
            for original in self.original_names.get(name, (name,))
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy tensors by the author's names; what the graph does not use (auxiliary heads) is skipped.

        Raises:
            ModelError: when a tensor is missing or has another shape.
        """
        own = self.state_dict()
        missing = [name for name in own if name not in state]
        if missing:
            raise ModelError(f"The state lacks {len(missing)} tensors, first “{missing[0]}”.")
        with torch.no_grad():
            for name, tensor in own.items():
                if tensor.shape != state[name].shape:
                    raise ModelError(
                        f"“{name}” must have shape {list(tensor.shape)}, got {list(state[name].shape)} from the state."
                    )
                tensor.copy_(state[name])

    def prunable(self) -> dict[str, nn.Module]:
        """Convolutions and linear layers that own a weight, in execution order."""
        found: dict[str, nn.Module] = {}
        for node in self.graph_module.graph.nodes:
            if node.op == "call_module" and node.target not in found:
                layer = self.graph_module.get_submodule(node.target)
                if isinstance(layer, PRUNABLE):
                    found[node.target] = layer
        return found

    # -- files ----------------------------------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the graph and every tensor; equal models have equal fingerprints."""
        return graph_file.fingerprint(self)

    def save(self, folder: Path) -> None:
        """Write ``graph.json`` and ``weights.safetensors`` into ``folder`` (made when missing). No pickle, no code."""
        graph_file.save(self, Path(folder))

    @classmethod
    def load(cls, folder: Path) -> "TracedModel":
        """Read what ``save`` wrote, without the author's code.

        Raises:
            ModelError: when the folder is incomplete, damaged, or asks for anything outside the allowed types.
        """
        return graph_file.load(Path(folder))


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
