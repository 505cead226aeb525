"""Small data sets on disk, one builder per source, for the contract tests and the tests of single sources."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from core.data.specs import DataSpec

Build = Callable[[Path], DataSpec]


def random_images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_cifar_batch(path: Path, labels: object, *, key: str = "labels", data: object = None, seed: int = 0) -> None:
    pixels = random_images(len(labels), 3072, seed=seed) if data is None else data  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"data": pixels, key: labels}))


def build_cifar10(root: Path) -> DataSpec:
    folder = root / "cifar-10-batches-py"
    write_cifar_batch(folder / "data_batch_1", [k % 10 for k in range(60)], seed=1)
    write_cifar_batch(folder / "data_batch_2", [k % 10 for k in range(40)], seed=2)
    write_cifar_batch(folder / "test_batch", [k % 10 for k in range(30)], seed=3)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"thing {k}" for k in range(10)]}))
    return DataSpec(source="cifar10", root=str(root))


def build_cifar100(root: Path) -> DataSpec:
    folder = root / "cifar-100-python"
    write_cifar_batch(folder / "train", [k % 100 for k in range(400)], key="fine_labels", seed=1)
    write_cifar_batch(folder / "test", [k % 100 for k in range(100)], key="fine_labels", seed=2)
    return DataSpec(source="cifar100", root=str(root))


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def build_idx(root: Path, source: str, folder_name: str) -> DataSpec:
    raw = root / folder_name / "raw"
    raw.mkdir(parents=True)
    for seed, (prefix, count) in enumerate({"train": 100, "t10k": 30}.items()):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(random_images(count, 28, 28, seed=seed)))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(count, dtype=np.uint8) % 10))
    return DataSpec(source=source, root=str(root))


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def build_image_folder(root: Path) -> DataSpec:
    for seed, label in enumerate(("ant", "bee", "cat")):
        for number, pixels in enumerate(random_images(12, 16, 20, 3, seed=seed)):
            write_image(root / label / f"{number:02}.png", pixels)
    return DataSpec(source="image_folder", root=str(root))


def build_segmentation_folder(root: Path) -> DataSpec:
    for seed, (split, count) in enumerate({"train": 6, "val": 4, "test": 5}.items()):
        masks = random_images(count, 12, 16, seed=10 + seed) % 3
        masks[:, 0, 0] = 255
        for number, pixels in enumerate(random_images(count, 12, 16, 3, seed=seed)):
            write_image(root / split / f"{number}.png", pixels)
            write_image(root / f"{split}annot" / f"{number}.png", masks[number])
    return DataSpec(source="segmentation_folder", root=str(root))


BUILDERS: dict[str, Build] = {
    "digits": lambda root: DataSpec(source="digits"),
    "scenes": lambda root: DataSpec(source="scenes", limit=40),
    "cifar10": build_cifar10,
    "cifar100": build_cifar100,
    "mnist": lambda root: build_idx(root, "mnist", "MNIST"),
    "fashion_mnist": lambda root: build_idx(root, "fashion_mnist", "FashionMNIST"),
    "image_folder": build_image_folder,
    "segmentation_folder": build_segmentation_folder,
}
