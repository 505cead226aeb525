"""Every error that a person may be told about.

A message is one clear sentence or two: what must hold, what came, what to do next.
Pages and the command line show ``str(error)``; the traceback goes to a drawer and the log.
"""

__all__ = [
    "AccessError",
    "Cancelled",
    "CheckpointError",
    "DataError",
    "EspalierError",
    "ExportError",
    "MeasurementError",
    "ModelError",
    "PlanError",
    "RegistryError",
    "StoreError",
    "TrainingError",
]


class EspalierError(Exception):
    """Base of all errors whose message is meant for the person at the screen."""


class RegistryError(EspalierError):
    """An unknown or duplicate name in a registry."""


class ModelError(EspalierError):
    """A model that cannot be built, traced or loaded."""


class CheckpointError(ModelError):
    """A checkpoint file that is damaged, unsafe or does not fit the architecture."""


class DataError(EspalierError):
    """A data set that is missing, damaged or does not fit the model."""


class PlanError(EspalierError):
    """A plan that is out of range, names unknown layers or asks for the impossible."""


class TrainingError(EspalierError):
    """A training run that cannot go on, such as one whose loss is no longer finite."""


class MeasurementError(EspalierError):
    """A measurement that could not be taken."""


class ExportError(EspalierError):
    """A model that could not be exported, or whose export failed its checks."""


class StoreError(EspalierError):
    """The workspace or its database cannot be read or written."""


class AccessError(EspalierError):
    """Something that this person may not do here."""


class Cancelled(Exception):  # noqa: N818 - a person asked for it: it is not an error
    """Raised inside a job at the next check after a person cancelled it."""
