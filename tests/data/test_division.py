"""Parts are disjoint, whole and stratified."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.division import complete_splits, divide, limited_indices, stratified_order
from core.data.notes import Notes
from core.errors import DataError

labels_of_any_kind = st.lists(st.integers(0, 6), min_size=3, max_size=200).map(np.array)


@given(labels=labels_of_any_kind, seed=st.integers(0, 5))
def test_order_is_a_permutation_with_stratified_prefixes(labels: np.ndarray, seed: int) -> None:
    order = stratified_order(labels, seed=seed)
    assert sorted(order) == list(range(len(labels)))
    length = len(labels) // 2
    for label in np.unique(labels):
        members = int((labels == label).sum())
        if members > 1:  # single examples wait at the end, for the training part
            got = int((labels[order[:length]] == label).sum())
            assert abs(got - members * length / len(labels)) <= 2 + len(np.unique(labels)) / 2


@given(labels=labels_of_any_kind, first=st.floats(0.05, 0.45), second=st.floats(0.05, 0.45))
def test_parts_are_disjoint_and_whole(labels: np.ndarray, first: float, second: float) -> None:
    parts = divide(labels, [first, second], seed=0)
    assert all(len(part) for part in parts)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))


@given(labels=labels_of_any_kind, small=st.integers(1, 50), more=st.integers(0, 50))
def test_smaller_limits_are_subsets(labels: np.ndarray, small: int, more: int) -> None:
    assert set(limited_indices(labels, small)) <= set(limited_indices(labels, small + more))


def test_equal_classes_are_divided_equally() -> None:
    labels = np.repeat(np.arange(10), 100)
    for part, expected in zip(divide(labels, [0.2, 0.1], seed=3), (20, 10, 70), strict=True):
        assert np.all(np.abs(np.bincount(labels[part], minlength=10) - expected) <= 1)


@pytest.mark.row("B36")
def test_too_few_examples_are_refused() -> None:
    with pytest.raises(DataError, match="at least 3 usable examples"):
        divide(np.zeros(2, np.int64), [0.2, 0.2], seed=0)


@pytest.mark.parametrize(
    ("given_splits", "sentence"),
    [
        (("train", "select", "test"), None),
        (("train", "test"), None),
        (("train", "select"), "the validation folder is the test split"),
        (("train",), "no test split"),
        (("all",), "no test split"),
        (("select",), "no test split"),
    ],
)
def test_missing_splits_are_made(given_splits: tuple[str, ...], sentence: str | None) -> None:
    items = [(f"{split}{number}", number % 2) for split in given_splits for number in range(20)]
    parts = {split: [item for item in items if item[0].startswith(split)] for split in given_splits}
    notes = Notes()
    whole = complete_splits(parts, lambda item: item[1], select_fraction=0.25, limit=None, seed=0, notes=notes)
    assert list(whole) == ["train", "select", "test"]
    assert sorted(item for part in whole.values() for item in part) == sorted(items)
    if "train" in parts and len(parts) == 2:
        assert whole["test"] == parts[given_splits[1]]
        assert len(whole["select"]) == 5
    assert any(sentence in note for note in notes.sentences()) if sentence else not notes.sentences()
