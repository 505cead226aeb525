"""Where a specification may point to, and what is found below a data root."""

from pathlib import Path

import pytest

from core.data.discovery import discover_data
from core.data.opening import open_data
from core.data.roots import resolve_folder
from core.data.specs import DataSpec
from core.errors import DataError

from .builders import build_cifar10, build_idx, build_image_folder, build_segmentation_folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.setenv("ESPALIER_DATA_ROOT", str(folder))
    return folder


@pytest.mark.row("B21")
@pytest.mark.parametrize("path", ["..", "../other", "a/../../other", "../root2", "a/b/../../../x", "\0", " ", "a\0b"])
def test_relative_paths_stay_below_the_data_root(root: Path, path: str) -> None:
    with pytest.raises(DataError):
        resolve_folder(path)
    with pytest.raises(DataError):
        open_data(DataSpec(source="image_folder", root=path))


@pytest.mark.parametrize("path", [".", "a", "a/b", "a/../b", "./a"])
def test_paths_below_the_data_root_are_taken(root: Path, path: str) -> None:
    assert root in (resolve_folder(path), *resolve_folder(path).parents)


def test_without_a_data_root_paths_are_those_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESPALIER_DATA_ROOT", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    build_image_folder(tmp_path / "pictures")
    splits = open_data("image_folder", root="../pictures")
    assert splits.spec.root == str(tmp_path / "pictures")


def test_specifications_below_the_data_root_stay_relative(root: Path) -> None:
    build_image_folder(root / "pictures")
    assert open_data("image_folder", root="pictures").spec.root == "pictures"
    assert open_data("image_folder", root=str(root / "pictures")).spec.root == "pictures"


def test_a_source_without_folder_is_looked_for(root: Path) -> None:
    build_cifar10(root / "deep" / "down")
    assert open_data("cifar10").spec.root == "deep/down"


def test_a_missing_folder_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"there is none at .*/root/nowhere"):
        open_data("image_folder", root="nowhere")


def test_everything_below_a_root_is_found_once(tmp_path: Path) -> None:
    build_cifar10(tmp_path / "cifar")
    build_idx(tmp_path / "numbers", "mnist", "MNIST")
    build_idx(tmp_path / "clothes", "fashion_mnist", "FashionMNIST")
    build_image_folder(tmp_path / "more" / "pictures")
    build_segmentation_folder(tmp_path / "streets")
    (tmp_path / ".hidden").mkdir()
    build_image_folder(tmp_path / ".hidden" / "pictures")
    (tmp_path / "empty").mkdir()
    found = {(spec.source, spec.root) for spec in discover_data(tmp_path)}
    assert found == {
        ("cifar10", "cifar"),
        ("mnist", "numbers"),
        ("fashion_mnist", "clothes"),
        ("image_folder", "more/pictures"),
        ("segmentation_folder", "streets"),
    }
    for spec in discover_data(tmp_path):
        assert spec.root is not None
        assert len(open_data(spec, root=tmp_path / spec.root).test) > 0


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert discover_data(tmp_path / "nowhere") == []
