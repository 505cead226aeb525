"""Dividing examples into disjoint parts with equal shares of every class. Numpy only.

Everything rests on one *stratified order*: a permutation of the examples of which every stretch holds the classes in
(nearly) the proportions of the whole. Parts are stretches of it, and a limit is its beginning, so that a smaller
limit is a subset of a larger one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from ..errors import DataError
from ..wording import percent
from .notes import Notes
from .raw import RawSplit

__all__ = [
    "TEST_FRACTION",
    "carve_select",
    "complete_splits",
    "divide",
    "limited",
    "limited_indices",
    "stratified_order",
]

T = TypeVar("T")
TEST_FRACTION = 0.2


def stratified_order(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """A permutation of ``range(len(labels))`` whose every stretch is stratified. ``labels``: integers ``[N]``.

    The k-th of the n examples of a class (in random order) gets the key ``(k + u) / n`` with one random ``u`` per
    class; sorting by the key interleaves the classes evenly. A class with a single example comes last, so that it
    ends up in the training part.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    keys = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        offset = generator.random() if len(members) > 1 else 1.0
        keys[members] = (np.arange(len(members)) + offset) / len(members)
    return np.argsort(keys, kind="stable")


def divide(labels: np.ndarray, fractions: Sequence[float], *, seed: int) -> list[np.ndarray]:
    """Disjoint stratified parts of ``range(len(labels))``, each sorted: one per fraction, then the rest.

    Raises:
        DataError: when there are too few examples to give every part at least one.
    """
    total = len(labels)
    if total < len(fractions) + 1:
        raise DataError(
            f"A data set must have at least {len(fractions) + 1} usable examples to be divided into train, select "
            f"and test; this one has {total}."
        )
    order = stratified_order(labels, seed=seed)
    sizes = [max(1, round(fraction * total)) for fraction in fractions]
    while sum(sizes) >= total:  # tiny data sets: leave one for the rest
        sizes[sizes.index(max(sizes))] -= 1
    bounds = np.cumsum(sizes)
    return [np.sort(part) for part in np.split(order, bounds)]


def carve_select(split: RawSplit, *, fraction: float, seed: int) -> tuple[RawSplit, RawSplit]:
    """Divide an in-memory training split into (train, select). Masks are divided at random, labels stratified."""
    labels = split.targets if split.targets.ndim == 1 else np.zeros(len(split), np.int64)
    if isinstance(split.images, np.ndarray):
        chosen, rest = divide(labels, [fraction], seed=seed)
        images = split.images
        return (
            RawSplit(images[rest], split.targets[rest]),
            RawSplit(images[chosen], split.targets[chosen]),
        )
    raise DataError("Only images in memory can be divided; divide the list of files before reading them.")


def limited_indices(labels: np.ndarray, limit: int | None, *, seed: int = 0) -> np.ndarray:
    """Sorted indices of a stratified subset of at most ``limit`` examples; all of them without a limit."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    return np.sort(stratified_order(labels, seed=seed)[:limit])


def limited(split: RawSplit, limit: int | None) -> RawSplit:
    """A stratified subset of an in-memory split."""
    if limit is None or limit >= len(split) or not isinstance(split.images, np.ndarray):
        return split
    labels = split.targets if split.targets.ndim == 1 else np.zeros(len(split), np.int64)
    kept = limited_indices(labels, limit)
    return RawSplit(split.images[kept], split.targets[kept])


def complete_splits(
    parts: Mapping[str, Sequence[T]],
    label_of: Callable[[T], int],
    *,
    select_fraction: float,
    limit: int | None,
    seed: int,
    notes: Notes,
) -> dict[str, list[T]]:
    """Train, select and test from the splits that a folder has, limited; nothing is read yet.

    With train and one more split, that one is the test split and select is carved from train. Otherwise everything is
    divided: 20 % test, then ``select_fraction`` of the rest.
    """
    if "train" in parts and "test" in parts and "select" in parts:
        whole = {name: list(parts[name]) for name in ("train", "select", "test")}
    elif "train" in parts and len(parts) == 2:
        (other,) = (name for name in parts if name != "train")
        if other == "select":
            notes.say("There is no test folder: the validation folder is the test split.")
        train = parts["train"]
        chosen, rest = divide(_labels(train, label_of), [select_fraction], seed=seed)
        whole = {"train": _picked(train, rest), "select": _picked(train, chosen), "test": list(parts[other])}
    else:
        joined = [item for part in parts.values() for item in part]
        share = select_fraction * (1 - TEST_FRACTION)
        test, select, rest = divide(_labels(joined, label_of), [TEST_FRACTION, share], seed=seed)
        notes.say(f"The folder has no test split: {percent(TEST_FRACTION, 0)} of its images were set apart as one.")
        whole = {"train": _picked(joined, rest), "select": _picked(joined, select), "test": _picked(joined, test)}
    return {name: _picked(part, limited_indices(_labels(part, label_of), limit)) for name, part in whole.items()}


def _labels(items: Sequence[T], label_of: Callable[[T], int]) -> np.ndarray:
    return np.array([label_of(item) for item in items], np.int64)


def _picked(items: Sequence[T], indices: np.ndarray) -> list[T]:
    return [items[index] for index in indices]
