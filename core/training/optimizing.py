"""The optimizer of a stage, with exact masks: hidden weights and their optimizer state do not move (METHODS §D, 5).

Weight decay is applied here, in the optimizers' own formulas, because it must know the masks: coupled for SGD,
decoupled for AdamW; never on biases and norms.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PlanError
from .settings import StageSettings
from .state import plain_parameters

__all__ = ["MaskedOptimizer"]


class MaskedOptimizer:
    """SGD (Nesterov) or AdamW over a module's parameters.

    ``hold`` gives the masks. A hidden weight with ``freeze`` keeps its value and its optimizer state bit
    for bit, whatever momentum is left in it; without ``freeze`` (gradients reach it) only weight decay spares it.
    """

    def __init__(self, module: nn.Module, settings: StageSettings) -> None:
        self.settings = settings
        self.parameters = plain_parameters(module)
        if not self.parameters:
            raise PlanError("There is nothing to train: every parameter of the model is frozen.")
        trained = list(self.parameters.values())
        self.optimizer: torch.optim.Optimizer
        if settings.optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
        else:
            momentum = settings.momentum
            self.optimizer = torch.optim.SGD(
                trained, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0
            )
        self._masks: dict[nn.Parameter, Tensor] = {}
        self._freeze = True
        self._kept: dict[nn.Parameter, dict[str, Tensor]] = {}

    def hold(self, masks: Mapping[nn.Parameter, Tensor], *, freeze: bool = True) -> None:
        """From here on, weights where a mask (bool, True stays) is False are hidden."""
        self._masks = {
            parameter: mask for parameter, mask in masks.items() if parameter.requires_grad and not mask.all()
        }
        self._freeze = freeze
        self._kept.clear()

    def follow(self, module: nn.Module) -> None:
        """The optimizer was sliced for a smaller module: take its parameters. Masks are forgotten."""
        self.parameters = plain_parameters(module)
        self.hold({})

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def step(self, learning_rate: float, stepping: Any = None) -> None:
        """One step at this rate. ``stepping``: the engine's wrapper of the optimizer, if any."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        frozen = self._masks if self._freeze else {}
        for parameter in frozen:
            self._keep(parameter)
        if self.settings.weight_decay:
            self._decay(learning_rate)
        (stepping or self.optimizer).step()
        for parameter, mask in frozen.items():
            self._put_back(parameter, mask)

    def _decay(self, learning_rate: float) -> None:
        rate = self.settings.weight_decay
        for parameter in self.parameters.values():
            if parameter.ndim < 2 or parameter.grad is None:
                continue
            mask = self._masks.get(parameter)
            if self.settings.optimizer == "sgd":
                parameter.grad.add_(parameter if mask is None else parameter * mask, alpha=rate)
            elif mask is None:
                parameter.mul_(1.0 - learning_rate * rate)
            else:
                parameter.mul_(1.0 - learning_rate * rate * mask)

    def _tensors(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state = self.optimizer.state.get(parameter, {})
        return {"": parameter} | {
            key: value for key, value in state.items() if isinstance(value, Tensor) and value.shape == parameter.shape
        }

    def _keep(self, parameter: nn.Parameter) -> None:
        kept = self._kept.setdefault(parameter, {})
        for key, tensor in self._tensors(parameter).items():
            if key in kept:
                kept[key].copy_(tensor)
            else:
                kept[key] = tensor.detach().clone()

    def _put_back(self, parameter: nn.Parameter, mask: Tensor) -> None:
        kept = self._kept[parameter]
        for key, tensor in self._tensors(parameter).items():
            old = kept.get(key)  # a state that this step began has moved from 0
            torch.where(mask, tensor, torch.zeros_like(tensor) if old is None else old, out=tensor.detach())

    def state(self) -> dict[str, dict[str, Any]]:
        """The optimizer's state by parameter name, for a checkpoint."""
        return {
            name: {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()}
            for name, parameter in self.parameters.items()
            if (state := self.optimizer.state.get(parameter))
        }

    def load(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up the state of a checkpoint."""
        for name, values in state.items():
            parameter = self.parameters[name]
            self.optimizer.state[parameter] = {
                key: value.to(parameter.device) if isinstance(value, Tensor) and value.ndim else value
                for key, value in values.items()
            }
