"""An optimizer follows a surgery: its state is sliced as the parameters were, and training goes on in the small net."""

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import PlanError
from ..models.traced import TracedModel
from .groups import Comb
from .surgery import sliced
from .survivors import Removal, Survivors

__all__ = ["slice_optimizer"]


def slice_optimizer(optimizer: Optimizer, found: Comb, removal: Removal, pruned: TracedModel) -> None:
    """Let ``optimizer``, made for the combed model, train ``pruned`` from here on.

    Momenta and other state tensors of a parameter's shape keep the surviving indices; numbers stay as they are.
    Parameters in the optimizer that are not the model's are left alone.

    Args:
        optimizer: changed in place.
        found: the groups of the dense model.
        removal: the units that ``remove`` took away.
        pruned: what ``remove`` returned.

    Raises:
        PlanError: when a state has a shape of its own (factored second moments); nothing was changed then.
    """
    survivors = Survivors(found, removal)
    module = found.model.graph_module
    names = {id(parameter): found.reader.canonical(name) for name, parameter in module.named_parameters()}
    smaller = dict(pruned.graph_module.named_parameters(remove_duplicate=False))
    states: dict[int, dict[str, Any]] = {}
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter))
        if name is not None:
            states[id(parameter)] = {
                key: _follow(value, parameter, name, key, survivors) for key, value in state.items()
            }

    for group in optimizer.param_groups:
        kept: list[nn.Parameter] = []
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is None:
                kept.append(parameter)
                continue
            kept.append(smaller[name])
            if id(parameter) in states:
                del optimizer.state[parameter]
                optimizer.state[smaller[name]] = states[id(parameter)]
        group["params"] = kept


def _follow(value: Any, parameter: Tensor, name: str, key: str, survivors: Survivors) -> Any:
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    if value.shape == parameter.shape:
        return sliced(value, name, survivors).clone()
    raise PlanError(
        f"The optimizer's state “{key}” of “{name}” must have the parameter's shape {list(parameter.shape)} to be "
        f"sliced, got {list(value.shape)}. Start the optimizer anew after the removal."
    )
