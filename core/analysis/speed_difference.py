"""Why one variant is faster than another, or is not: which layers the difference in time comes from. Knows no torch.

The parts always add up: what no single layer explains is a part of its own (``rest_ms``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import MeasurementError
from ..wording import percent

__all__ = ["LayerDifference", "SpeedDifference"]

_MOST = 0.8
"""“Most of the difference” is this share of it."""
_NAMED = 3
_REST = 0.2
"""What no layer explains is mentioned when it is a larger part than this."""
_TRIFLE = 0.03
"""Layers that take a smaller share of the time are not worth a word."""
_VAGUE = 1.5
"""An interval of speed-ups whose ends are further apart than this tells nothing."""
_BLOCK = 8
_NOTHING_MS = 1e-9
_VERSION = 1


@dataclass(frozen=True)
class LayerDifference:
    """One layer in both variants, timed alone: ``*_ms`` in milliseconds over all its calls, one example.

    ``*_shape``: of its weight, empty where a variant does not have the layer. ``*_zeros``: share of its weights that
    are 0, in [0, 1]. ``macs`` are of one example.
    """

    name: str
    stage: str
    before_shape: tuple[int, ...]
    after_shape: tuple[int, ...]
    before_macs: int
    after_macs: int
    before_zeros: float
    after_zeros: float
    before_ms: float
    after_ms: float

    @property
    def saved_ms(self) -> float:
        """Milliseconds less than before; negative where the layer became slower."""
        return self.before_ms - self.after_ms

    @property
    def smaller(self) -> bool:
        """Whether its shape changed."""
        return self.before_shape != self.after_shape


@dataclass(frozen=True)
class SpeedDifference:
    """Two variants timed against each other as wholes, and their layers one by one.

    ``before_ms`` and ``after_ms``: the whole networks, medians of interleaved pairs; ``ratio`` is the speed-up with its
    95 % interval, and ``verdict`` ``faster``, ``slower``, ``no difference shown`` or ``the same`` (equal networks).
    """

    runtime: str
    threads: int
    before_ms: float
    after_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    verdict: str
    layers: tuple[LayerDifference, ...]
    busy: bool = False
    machine: str = ""

    @property
    def saved_ms(self) -> float:
        """Milliseconds that the second variant takes less."""
        return self.before_ms - self.after_ms

    @property
    def layers_ms(self) -> float:
        """The part of it that its layers save, each timed alone."""
        return sum(layer.saved_ms for layer in self.layers)

    @property
    def rest_ms(self) -> float:
        """The part that no layer explains: additions, attention, pooling, changes of layout, caches, and noise."""
        return self.saved_ms - self.layers_ms

    def stages(self) -> dict[str, float]:
        """Stage → milliseconds saved in it, in the order of the network."""
        found: dict[str, float] = {}
        for layer in self.layers:
            found[layer.stage] = found.get(layer.stage, 0.0) + layer.saved_ms
        return found

    def shares(self) -> dict[str, float]:
        """Layer → its share of the difference, and ``""`` → that of what no layer explains; they add up to 1.

        Empty where there is no difference.
        """
        if abs(self.saved_ms) < _NOTHING_MS:
            return {}
        found = {layer.name: layer.saved_ms / self.saved_ms for layer in self.layers}
        return {**found, "": self.rest_ms / self.saved_ms}

    def most(self) -> tuple[LayerDifference, ...]:
        """The fewest layers that make most of what the layers save (or lose), the largest first."""
        way = 1.0 if self.saved_ms >= 0 else -1.0
        helping = sorted((one for one in self.layers if way * one.saved_ms > 0), key=lambda one: -way * one.saved_ms)
        wanted, found, total = _MOST * sum(abs(one.saved_ms) for one in helping), [], 0.0
        for one in helping:
            if total >= wanted:
                break
            found.append(one)
            total += abs(one.saved_ms)
        return tuple(found)

    def sentence(self, before: str, after: str) -> str:
        """What is to be known of it, in plain text; ``before`` and ``after`` are names of the variants."""
        if self.verdict == "the same":
            return f"“{after}” is the same network as “{before}”, weight by weight: there is no difference to explain."
        times = f"{_ms(self.before_ms)} → {_ms(self.after_ms)}"
        if self.verdict == "no difference shown":
            return f"No difference in time is shown between “{before}” and “{after}” ({times}). {self._idle()}"
        slower = self.verdict == "slower"
        said = f"“{after}” takes {_ms(abs(self.saved_ms))} {'more' if slower else 'less'} than “{before}” ({times})"
        parts = self._parts()
        said += f": {parts}." if parts else "."
        most = self.most()
        if most and len(self.layers) > 1:
            said += f" {len(most)} of {len(self.layers)} layers make most of it."
        if abs(self.rest_ms) > _REST * abs(self.saved_ms):
            said += (
                f" {_ms(self.rest_ms)} of it are in no single layer: additions, pooling, changes of layout, and what "
                "layers cost only together."
            )
        return " ".join(part for part in (said, self._odd() if slower else "", self._zeros()) if part)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable dict."""
        return {"version": _VERSION, **asdict(self), "layers": [asdict(layer) for layer in self.layers]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "SpeedDifference":
        """What ``to_json`` wrote.

        Raises:
            MeasurementError: for anything else.
        """
        try:
            known = dict(body)
            if known.pop("version") != _VERSION:
                raise ValueError(f"version {body['version']}")
            layers = tuple(
                LayerDifference(
                    **{**row, "before_shape": tuple(row["before_shape"]), "after_shape": tuple(row["after_shape"])}
                )
                for row in known.pop("layers")
            )
            return cls(**known, layers=layers)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise MeasurementError(
                f"The stored times of the layers cannot be read ({problem}): measure them again."
            ) from None

    def _parts(self) -> str:
        """The stages that make the difference, each with its share or, where that misleads, its milliseconds."""
        saved = self.saved_ms
        if abs(saved) < _NOTHING_MS:
            return ""
        ranked = sorted(self.stages().items(), key=lambda item: -item[1] / saved)
        found = [(stage, ms) for stage, ms in ranked if ms / saved >= 0.05][:_NAMED]
        if not found:
            return ""
        if sum(ms for _, ms in found) / saved > 1.0:  # more than the whole: other parts took some of it back
            return ", ".join(f"{_ms(abs(ms))} in {stage}" for stage, ms in found) + ", measured layer by layer"
        return ", ".join(f"{percent(ms / saved, 0)} of that in {stage}" for stage, ms in found)

    def _idle(self) -> str:
        """Why there may be nothing to see."""
        if self._zeros():
            return self._zeros()
        if self.ratio_high > _VAGUE * self.ratio_low:
            return (
                f"The speed-up lies between {self.ratio_low:.2f} and {self.ratio_high:.2f}, too wide to tell: measure "
                "again when the machine is quiet."
            )
        before, after = (sum(getattr(layer, f"{side}_macs") for layer in self.layers) for side in ("before", "after"))
        if before and after < before:
            odd = self._odd() or "Here the work is too little to see beside the rest."
            return f"It does {percent(1 - after / before, 0)} less work. {odd}"
        return "Both do the same work."

    def _odd(self) -> str:
        """Smaller layers that are no faster because kernels work on blocks of channels."""
        found = [
            layer
            for layer in self.layers
            if layer.smaller
            and layer.before_ms >= _TRIFLE * self.before_ms
            and layer.saved_ms <= 0.02 * layer.before_ms
            and any(
                old % _BLOCK == 0 and new % _BLOCK
                for old, new in zip(layer.before_shape[:2], layer.after_shape[:2], strict=False)
            )
        ]
        if not found:
            return ""
        one = max(found, key=lambda layer: -layer.saved_ms)
        many = f"{len(found)} smaller layers are" if len(found) > 1 else "1 smaller layer is"
        return (
            f"{many} no faster ({one.name} keeps {' × '.join(map(str, one.after_shape[:2]))} channels): kernels work "
            f"on blocks of {_BLOCK} or {2 * _BLOCK} channels, so round to multiples of {_BLOCK}."
        )

    def _zeros(self) -> str:
        """Zeros without smaller layers: the most asked question of all."""
        gained = [one for one in self.layers if not one.smaller and one.after_zeros > one.before_zeros + 0.01]
        if not gained:
            return ""
        if any(one.smaller for one in self.layers):
            return f"In {len(gained)} layers weights became zero too; zeros in a layer of the same size save no time."
        return "No layer is smaller: its weights became zeros, and zeros alone do not make it faster."


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if abs(value) >= 0.095 else f"{1000 * value:.0f} µs"
