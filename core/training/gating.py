"""The hook of SEAP: gates that are learned with the weights, a rate that rises, and a removal in mid-run (METHODS §C2).

Where a run stands is a fraction of all its steps (``phases``): warm-up; the ramp, in which the closed part rises by
p·(1 − (1 − x)³); the swap, in which gates may still change places at the full rate; then the gates are frozen, what is
closed is cut out of the network, and training goes on in the small one.

Weights of closed units and their optimizer state do not move while their gate is closed; the gate itself learns on.

Epoch rows get: ``sparsity`` (share of the budget that is closed or gone), ``layers`` (share of each layer's weights),
``groups`` (units open or left, of every group), ``keep`` (the same as a share), ``parameters``, ``macs``, ``closed``
(units), ``reopened`` (units that opened again in this epoch), ``moment`` ("warm-up", "ramp", "swap" or
"removed"). While gates learn also ``gates`` (group → values of at most 64 of its units, always the same ones, evenly
spaced over the group; fewer where there are many groups), ``open`` (the same units as a string of 1 and 0),
``threshold`` (τ that all groups share) and ``softness`` (u).
With a budget of latency ``sparsity`` counts MACs until the removal; after it there is ``milliseconds``, predicted.
The epoch of the removal has ``removal``: ``{"step", "units"}``.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..comb.combing import comb
from ..comb.gating import GatedNetwork
from ..comb.groups import Comb
from ..comb.sheet import GroupSheet
from ..comb.survivors import Survivors
from ..pruning.gates import GateRule, Opening, initial_gates, ramp, softness, straight_through
from ..pruning.groups.budget import Removal
from .hooks import Hook
from .proof import remove_proved
from .state import plain_parameters

if TYPE_CHECKING:
    from .loop import Run

__all__ = ["LearnedGates"]

VALUES_PER_GROUP = 64
VALUES_PER_EPOCH = 768


class LearnedGates(Hook):
    """Learns which units stay, and removes the others (see the module).

    Args:
        found: the groups of the dense model.
        rule: who is open at a given rate.
        epochs: of the stage, which is the whole run.
        learning_rate: of Adam on the gates, without weight decay.
        phases: where the ramp begins, where it ends, and when closed units are removed: fractions of all steps.
    """

    def __init__(
        self, found: Comb, rule: GateRule, *, epochs: int, learning_rate: float, phases: tuple[float, float, float]
    ) -> None:
        self.dense_comb, self.rule, self.phases = found, rule, phases
        self.dense_sheet: GroupSheet = rule.sheet
        self.epochs, self.learning_rate = epochs, learning_rate
        self.removal: Removal = {}
        """What was removed for good, as units of the dense model."""
        self._removed = False
        self._state: Mapping[str, Any] = {}
        self._share: float | None = None  # in MACs, for a budget of latency
        self._share_is_final = False
        self._found: Comb
        self._gates: GatedNetwork
        self._a: nn.Parameter
        self._adam: torch.optim.Adam
        self._now: Opening
        self._softness = 0.0
        self._was_open: np.ndarray | None = None
        self._reopened = np.zeros(0, dtype=bool)
        self._row: dict[str, Any] = {}

    def best_from(self, steps_per_epoch: int) -> int:
        """The first epoch that ends in the small network."""
        return math.ceil(self._last_step(self.epochs * steps_per_epoch) / steps_per_epoch)

    # -- what the loop calls ----------------------------------------------------------------------------------------

    def begin(self, run: "Run") -> None:
        if self._removed:
            return
        self._found = comb(run.model)
        start = self.rule.joined(initial_gates(self._found))
        self._a = nn.Parameter(torch.tensor(start, dtype=torch.float32, device=run.device))
        self._adam = torch.optim.Adam([self._a], lr=self.learning_rate, weight_decay=0.0)
        if self._state:
            with torch.no_grad():
                self._a.copy_(self._state["a"])
            if self._state["adam"]:
                moments = {key: value.to(run.device) for key, value in self._state["adam"].items() if key != "step"}
                self._adam.state[self._a] = {"step": self._state["adam"]["step"], **moments}
        elif self.rule.budget == "latency":
            self._share = self.rule.share_of_macs(start)
        self._gates = GatedNetwork(self._found, self.rule.names)

    def epoch_start(self, run: "Run") -> None:
        self._reopened, self._row = np.zeros(self.rule.edges[-1], dtype=bool), {}
        if not self._removed:
            self._refresh(run)

    def after_step(self, run: "Run") -> None:
        if self._removed:
            return
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        if run.stage_step >= self._last_step(self._steps(run)):
            self._remove(run)
        else:
            self._refresh(run)

    def epoch_end(self, run: "Run", row: dict[str, Any]) -> None:
        gone = self.removal if self._removed else self.rule.removal(self._now.opened)
        sheet = self.dense_sheet
        counts, dense = sheet.counts(gone), sheet.dense
        left = {group.name: group.units - len(gone.get(group.name, ())) for group in sheet.groups}
        row.update(
            sparsity=self.rule.saved(gone) if self._removed else self.rule.roughly_saved(self._now.opened),
            layers={
                name: 1.0 - math.prod(counts.weight_shapes[name]) / math.prod(dense.weight_shapes[name])
                for name in sheet.prunable
                if name in counts.weight_shapes
            },
            groups=left,
            keep={group.name: left[group.name] / group.units for group in sheet.groups},
            parameters=counts.parameters,
            macs=counts.macs,
            closed=sum(map(len, gone.values())),
            reopened=int(self._reopened.sum()),
            moment=self._moment(run),
            **self._row,
        )
        if self._removed and self.rule.milliseconds is not None:
            row["milliseconds"] = self.rule.milliseconds(counts)
        if not self._removed:
            row.update(self._values(), threshold=self._now.level, softness=self._softness)

    def end(self, run: "Run") -> None:
        if not self._removed:  # the run ended before its time: nothing may be left of the gates
            self._gates.remove()

    def state(self) -> dict[str, Any]:
        if self._removed:
            return {"removed": True, "removal": {name: list(units) for name, units in self.removal.items()}}
        return {
            "removed": False,
            "a": self._a.detach().clone(),
            "adam": {key: value.clone() for key, value in self._adam.state[self._a].items()},
            "share": self._share,
            "share_is_final": self._share_is_final,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self._removed = state["removed"]
        if self._removed:
            self.removal = {name: list(units) for name, units in state["removal"].items()}
        else:
            self._state, self._share, self._share_is_final = state, state["share"], state["share_is_final"]

    # -- gates ------------------------------------------------------------------------------------------------------

    def _steps(self, run: "Run") -> int:
        return self.epochs * run.steps_per_epoch

    def _last_step(self, steps: int) -> int:
        """After how many of so many steps the closed units are removed."""
        return max(1, math.ceil(self.phases[2] * steps - 1e-9))

    def _moment(self, run: "Run") -> str:
        if self._removed:
            return "removed"
        place = run.stage_step / self._steps(run)
        return "warm-up" if place <= self.phases[0] else "ramp" if place <= self.phases[1] else "swap"

    def _refresh(self, run: "Run") -> None:
        """Set the threshold for the next step, and the gates by it."""
        steps = self._steps(run)
        place = run.stage_step / steps
        a = self._a.detach().double().cpu().numpy()
        if self._share is not None and not self._share_is_final and place >= self.phases[1]:
            self._share, self._share_is_final = self.rule.share_of_macs(a), True
        self._now = self.rule.at(a, ramp(place, self.phases), share=self._share)
        self._softness = softness(run.stage_step / self._last_step(steps), a)
        gates = straight_through(
            self._a,
            torch.tensor(self._now.threshold, dtype=torch.float32, device=run.device),
            torch.from_numpy(self._now.opened).to(run.device),
            self._softness,
        )
        self._gates.values = torch.cat([gates.new_ones(1), gates])
        before, self._was_open = self._was_open, self._now.opened
        if before is not None:
            self._reopened |= ~before & self._was_open
        if before is None or (before != self._was_open).any():
            run.optimizer.hold(self._masks(run))

    def _masks(self, run: "Run") -> dict[nn.Parameter, Tensor]:
        """Which elements of each parameter belong to open units only."""
        reader = self._found.reader
        survivors = Survivors(self._found, self.rule.removal(self._now.opened), check=False)
        masks = {}
        for name, parameter in plain_parameters(run.model.graph_module).items():
            kept = [survivors.kept(reader.canonical(name), dim) for dim in range(parameter.ndim)]
            mask = torch.ones((), dtype=torch.bool, device=run.device)
            for dim, own in enumerate(kept):
                if own is not None:
                    shape = [-1 if d == dim else 1 for d in range(parameter.ndim)]
                    mask = mask & torch.from_numpy(own).to(run.device).reshape(shape)
            if mask.ndim:
                masks[parameter] = mask.expand(parameter.shape)
        return masks

    def _values(self) -> dict[str, Any]:
        most = min(VALUES_PER_GROUP, max(8, VALUES_PER_EPOCH // len(self.rule.groups)))
        opened = self.rule.by_group(self._now.opened)
        gates, states = {}, {}
        for name, values in self.rule.by_group(self._a.detach().cpu().numpy()).items():
            picked = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
            gates[name] = [round(float(value), 3) for value in values[picked]]
            states[name] = "".join("1" if is_open else "0" for is_open in opened[name][picked])
        return {"gates": gates, "open": states}

    # -- removal ----------------------------------------------------------------------------------------------------

    def _remove(self, run: "Run") -> None:
        """Freeze the gates and go on without the closed units."""
        self._gates.remove()
        self.removal = self.rule.final(self._a.detach().double().cpu().numpy())
        self._removed = True
        units = sum(map(len, self.removal.values()))
        self._row["removal"] = {"step": run.step, "units": units}
        if not self.removal:
            run.optimizer.hold({})
            run.history.event(run.epoch, run.step, "The gates were frozen; all of them are open.")
            return
        proof = remove_proved(run, self._found, self.removal)
        counts = self.dense_sheet.counts(self.removal)
        run.history.event(
            run.epoch,
            run.step,
            f"Gates frozen and {units:,} closed units removed: {counts.parameters:,} parameters and "
            f"{counts.macs:,} MACs are left; training goes on in the small network.",
        )
        run.notes.append(f"At step {run.step:,} the closed units were removed. {proof.sentence}")
