"""The tiny job kinds, registered in this process and, by the environment, in its workers."""

import os

os.environ["ESPALIER_JOB_KINDS"] = "tests.jobs.sample_kinds"

from . import sample_kinds

__all__ = ["sample_kinds"]
