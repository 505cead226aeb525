"""Where unfinished jobs keep what they need to go on: one folder per job, which is gone once the job is done."""

import re
import shutil
from pathlib import Path

from ..errors import StoreError
from ..paths import contained

__all__ = ["CheckpointFolders"]

_JOB_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")


class CheckpointFolders:
    """The folders below one root, named by the ids of their jobs. The root is made when the first job needs it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, job_id: str) -> Path:
        """Where this job may write.

        Raises:
            StoreError: when the id could leave the root.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise StoreError("A job is named by letters and digits; this name is not one.")
        return contained(self.root, job_id)

    def remove(self, job_id: str) -> None:
        """Delete what the job left behind, if anything."""
        shutil.rmtree(self.path(job_id), ignore_errors=True)

    def job_ids(self) -> set[str]:
        """The jobs that have a folder."""
        return {folder.name for folder in self.root.iterdir()} if self.root.is_dir() else set()
