"""What every data source must do, over the whole registry."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.data.discovery import discover_data
from core.data.opening import open_data
from core.data.raw import SPLIT_NAMES
from core.data.sources import DATA_SOURCES
from core.data.sources.base import describe_fields
from core.data.specs import DataSpec
from core.data.splits import Splits

from .builders import BUILDERS


def test_every_source_has_a_builder() -> None:
    assert set(BUILDERS) == set(DATA_SOURCES)


def test_sources_need_no_torch() -> None:
    code = "import sys, core.data.opening, core.data.discovery; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("key", list(DATA_SOURCES))
class TestEverySource:
    @pytest.fixture
    def spec(self, key: str, tmp_path: Path) -> DataSpec:
        return BUILDERS[key](tmp_path)

    @pytest.fixture
    def splits(self, spec: DataSpec) -> Splits:
        return open_data(spec)

    def test_describes_itself(self, key: str) -> None:
        source = DATA_SOURCES[key]
        assert source.key == key
        assert source.title
        assert (inspect.getdoc(source) or "").splitlines()[0].endswith(".")
        fields = describe_fields(source)
        assert list(fields) == [name for name in DataSpec.model_fields if name in source.fields]
        assert all(field["title"] for field in fields.values())
        assert ("root" in source.fields) == source.needs_folder
        assert ("download" in source.fields) == source.can_download

    def test_is_found_where_it_lies(self, key: str, tmp_path: Path) -> None:
        source = DATA_SOURCES[key]
        (tmp_path / "nothing").mkdir()
        assert source.find(tmp_path) == discover_data(tmp_path) == []
        if source.needs_folder:
            (tmp_path / "inner" / "data").mkdir(parents=True)
            BUILDERS[key](tmp_path / "inner" / "data")
            assert source.find(tmp_path) == discover_data(tmp_path) == [DataSpec(source=key, root="inner/data")]

    def test_splits_are_whole(self, key: str, splits: Splits) -> None:
        source = DATA_SOURCES[key]
        assert splits.task == source.task
        for name in SPLIT_NAMES:
            split = splits.split(name)
            assert len(split) > 0
            assert split.images.shape[0] == len(split.targets) == len(split)
            assert split.image_shape == splits.input_shape
            x, y = next(split.batches(7))
            assert x.dtype == torch.float32
            assert tuple(x.shape[1:]) == splits.input_shape
            assert y.dtype == torch.int64
            assert y.shape[1:] == (() if splits.task == "classification" else splits.input_shape[1:])
            valid = y[y != splits.ignore_index] if splits.ignore_index is not None else y
            assert valid.min() >= 0
            assert valid.max() < splits.num_classes
            image = split.image(0)
            assert image.dtype.name == "uint8"
            assert image.shape == (*splits.input_shape[1:], splits.input_shape[0])

    def test_splits_are_disjoint(self, splits: Splits) -> None:
        seen: set[bytes] = set()
        total = 0
        for name in SPLIT_NAMES:
            images = {image.numpy().tobytes() for image in splits.split(name).images}
            seen |= images
            total += len(images)
        assert len(seen) == total

    def test_same_specification_same_fingerprint(self, splits: Splits, spec: DataSpec) -> None:
        assert open_data(spec).fingerprint == splits.fingerprint
        assert open_data(spec, limit=3).fingerprint != splits.fingerprint
        channels = splits.input_shape[0]
        other = open_data(spec, mean=(0.5,) * channels, std=(0.25,) * channels)
        assert other.fingerprint != splits.fingerprint

    def test_limit_counts(self, spec: DataSpec, splits: Splits) -> None:
        limited = open_data(spec, limit=10)
        for name in SPLIT_NAMES:
            assert len(limited.split(name)) == min(10, len(splits.split(name)))

    def test_image_size_is_honoured(self, spec: DataSpec) -> None:
        other = open_data(spec, image_size=(20, 24), limit=10)
        assert other.input_shape[1:] == (20, 24)
        assert next(other.test.batches(2))[0].shape[2:] == (20, 24)

    def test_description_is_json(self, splits: Splits) -> None:
        body = json.loads(json.dumps(splits.describe(), allow_nan=False))
        assert body["counts"] == {name: len(splits.split(name)) for name in SPLIT_NAMES}
        assert len(body["classes"]) == body["num_classes"] == len(body["per_class"]["train"])
        assert 0 < len(body["thumbnails"]) <= 10
        assert all(picture["image"].startswith("data:image/png;base64,") for picture in body["thumbnails"])
        assert len(json.dumps(body)) < 150_000
