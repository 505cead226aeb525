"""What identifies a data set before it is read. Knows no torch, so that pages can use it at once."""

from pydantic import Field

from ..settings import Settings

__all__ = ["DataSpec"]


class DataSpec(Settings):
    """Where data come from, and how they are divided.

    ``source`` is a key of ``DATA_SOURCES`` (digits, scenes, cifar10, cifar100, mnist, fashion_mnist, image_folder,
    segmentation_folder). Where the source has no selection split of its own, ``select_fraction`` of the training
    examples (stratified, by ``seed``) becomes one.
    """

    source: str = Field(title="Source")
    root: str | None = Field(default=None, title="Folder", description="A folder below the data root of this server.")
    image_size: tuple[int, int] | None = Field(default=None, title="Image size (height, width)")
    mean: tuple[float, ...] | None = Field(default=None, title="Mean per channel", description="Empty: the default.")
    std: tuple[float, ...] | None = Field(default=None, title="Standard deviation per channel")
    select_fraction: float = Field(default=0.2, gt=0.0, lt=1.0, title="Share of training images kept for selection")
    limit: int | None = Field(default=None, ge=1, title="Images per split at most", description="Empty: all.")
    download: bool = Field(default=False, title="Download when missing")
    seed: int = Field(default=0, ge=0, title="Seed of the split")
