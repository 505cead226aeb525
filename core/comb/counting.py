"""What a removal leaves, counted without a tensor and without the model: parameters, MACs and shapes. Numpy only.

The products that the layers compute are written down once as lengths of dimensions, and every dimension as the units
that remove its indices; counting is looking up how many indices survive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["WHOLE", "Counter", "Counts"]

WHOLE = -1
"""In place of a column: nothing of this dimension can be removed."""

_Product = tuple[tuple[int, ...], ...]
"""A product of the lengths of axes; an axis is the product of its factors, given by number."""


@dataclass(frozen=True)
class Counts:
    """What would remain: parameters (shared ones once), MACs of one example, and each layer's weight and MACs."""

    parameters: int
    macs: int
    weight_shapes: dict[str, tuple[int, ...]]
    layer_macs: dict[str, int]


@dataclass(frozen=True, eq=False)
class Counter:
    """Counts what is left, given which units are gone.

    Units are numbered from 1 over all groups; 0 stands for "not removable".

    ``columns``: ``int32 [k, size]`` each, the units of which any one removes the index. ``factors``: (size, number of a
    column or ``WHOLE``). ``products``: (layer, sum of products) of every operation that multiplies; layer is empty for
    functions. ``parameters``: (name, ((size, column), …)). ``places``: (what, column) for every dimension, and part of
    one, of which something must stay.
    """

    units: int
    columns: tuple[np.ndarray, ...]
    factors: tuple[tuple[int, int], ...]
    products: tuple[tuple[str, tuple[_Product, ...]], ...]
    parameters: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    places: tuple[tuple[str, int], ...]

    def count(self, gone: np.ndarray) -> Counts:
        """Count what remains; ``gone`` is ``bool [units + 1]``."""
        lost = self._lost(gone)
        left = [size - (lost[column] if column != WHOLE else 0) for size, column in self.factors]
        layers: dict[str, int] = {}
        macs = 0
        for layer, terms in self.products:
            cost = sum(math.prod(left[factor] for axis in product for factor in axis) for product in terms)
            macs += cost
            if layer:
                layers[layer] = layers.get(layer, 0) + cost
        parameters, shapes = 0, {}
        for name, dims in self.parameters:
            kept = tuple(size - (lost[column] if column != WHOLE else 0) for size, column in dims)
            parameters += math.prod(kept)
            if name.endswith(".weight"):
                shapes[name.removesuffix(".weight")] = kept
        return Counts(parameters, macs, shapes, layers)

    def emptied(self, gone: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Dimensions and parts of them of which no index would remain, with the units that meet there."""
        lost = self._lost(gone)
        return [
            (what, self.columns[column])
            for what, column in self.places
            if lost[column] == self.columns[column].shape[1]
        ]

    def _lost(self, gone: np.ndarray) -> list[int]:
        """Indices that each column loses."""
        if not gone.any():
            return [0] * len(self.columns)
        return [int(np.count_nonzero(gone[column].any(axis=0))) for column in self.columns]

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A JSON header and arrays, which ``from_arrays`` reads back."""
        header = {
            "units": self.units,
            "factors": self.factors,
            "products": self.products,
            "parameters": self.parameters,
            "places": self.places,
        }
        shapes = np.array([column.shape for column in self.columns], dtype=np.int32).reshape(-1, 2)
        flat = [column.ravel() for column in self.columns]
        return header, {"column_shapes": shapes, "columns": np.concatenate([np.zeros(0, dtype=np.int32), *flat])}

    @classmethod
    def from_arrays(cls, header: dict[str, Any], shapes: np.ndarray, flat: np.ndarray) -> "Counter":
        """What ``to_arrays`` wrote."""
        ends = np.cumsum([int(rows) * int(size) for rows, size in shapes])
        pieces = np.split(flat, ends[:-1]) if len(ends) else []
        return cls(
            units=header["units"],
            columns=tuple(piece.reshape(tuple(shape)) for piece, shape in zip(pieces, shapes, strict=True)),
            factors=tuple(map(tuple, header["factors"])),
            products=tuple((layer, tuple(_tuples(terms))) for layer, terms in header["products"]),
            parameters=tuple(
                (name, tuple((size, column) for size, column in dims)) for name, dims in header["parameters"]
            ),
            places=tuple(map(tuple, header["places"])),
        )


def _tuples(terms: Sequence[Sequence[Sequence[int]]]) -> list[_Product]:
    return [tuple(tuple(axis) for axis in product) for product in terms]
