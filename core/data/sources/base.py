"""What every data source offers."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from ...models.specs import Task
from ...progress import SILENT, Progress
from ..folders import folders_below
from ..raw import RawData
from ..specs import DataSpec

__all__ = ["DataSource", "describe_fields"]


class DataSource(ABC):
    """A kind of data set. The first line of the docstring is what menus show.

    ``key``: its name in ``DATA_SOURCES``; ``title``: what people call it; ``task``: what it is labelled for;
    ``fields``: the fields of ``DataSpec`` that it uses, beside ``source``; ``needs_folder``: whether it reads files
    that must be there or be downloaded; ``can_download``: whether it knows where to get them.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[Task] = "classification"
    fields: ClassVar[tuple[str, ...]] = ("mean", "std", "limit")
    needs_folder: ClassVar[bool] = True
    can_download: ClassVar[bool] = False

    @abstractmethod
    def read(self, spec: DataSpec, folder: Path | None, *, progress: Progress = SILENT) -> RawData:
        """Read the data below ``folder`` (None: the source needs no folder) into three splits.

        Raises:
            DataError: when files are missing, damaged, or do not make a data set; it names them.
        """

    def matches(self, folder: Path) -> bool:
        """Whether this folder itself holds a data set of this kind. Quick: looks at names, opens nothing large."""
        return False

    def find(self, root: Path) -> list[DataSpec]:
        """Specifications of the data sets of this kind at or below ``root``, with roots relative to it."""
        return [
            DataSpec(source=self.key, root=folder.relative_to(root).as_posix())
            for folder in folders_below(root, self.matches)
            if self.matches(folder)
        ]

    def download(self, folder: Path, *, progress: Progress = SILENT) -> None:
        """Fetch the data set into ``folder``; only sources with ``can_download`` do."""
        raise NotImplementedError(f"{self.key} cannot be downloaded")


def describe_fields(source: DataSource) -> dict[str, dict[str, Any]]:
    """Title, description and default of each field of ``DataSpec`` that this source uses, for forms."""
    return {
        name: {"title": field.title or name, "description": field.description or "", "default": field.default}
        for name, field in DataSpec.model_fields.items()
        if name in source.fields
    }
