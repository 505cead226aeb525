"""Models and data from the store, as jobs need them. The last ones stay in memory, so that the next job is quick."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..data.specs import DataSpec
from ..environment import device_choice
from ..errors import DataError, EspalierError
from ..progress import SILENT, Progress
from ..pruning.plan import Plan
from ..store import Dataset, Session, Variant, Workspace
from .matching import viewed

if TYPE_CHECKING:
    from ..data.splits import Splits
    from ..models.traced import TracedModel

__all__ = [
    "dense_variant",
    "device",
    "keep_data",
    "keep_model",
    "load_data",
    "load_model",
    "plan_sensitivity",
    "session_parts",
]

T = TypeVar("T")
_KEPT = 2


class _Recent(Generic[T]):
    """The last few values by key."""

    def __init__(self, size: int = _KEPT) -> None:
        self._size = size
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, value: T) -> T:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def get(self, key: str, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        return self.put(key, make())


_models: "_Recent[TracedModel]" = _Recent()
_data: "_Recent[Splits]" = _Recent()


def load_model(workspace: Workspace, artifact: str, *, on: str | None = None) -> "TracedModel":
    """The model saved in this artifact, on the chosen device or ``on``. Shared between jobs: clone it to change it."""
    from ..models.traced import TracedModel

    place = on or device()
    return _models.get(
        f"{artifact} {place}", lambda: _moved(TracedModel.load(workspace.artifacts.path(artifact)), place)
    )


def keep_model(artifact: str, model: "TracedModel") -> None:
    """Remember a model that was just saved; it moves to the chosen device."""
    place = device()
    _models.put(f"{artifact} {place}", _moved(model, place))


def load_data(dataset: Dataset, *, progress: Progress = SILENT) -> "Splits":
    """The data of this row, read again from where they lie.

    Raises:
        DataError: when they are gone or are no longer the same.
    """

    def read() -> "Splits":
        from ..data.opening import open_data

        splits = viewed(
            open_data(DataSpec.parse(dataset.spec, error=DataError), progress=progress), dataset.description
        )
        if splits.fingerprint != dataset.id:
            raise DataError(
                f"The data “{dataset.name}” have changed since they were opened; results would not be comparable. "
                "Open them again in a new session."
            )
        return splits

    return _data.get(dataset.id, read)


def keep_data(splits: "Splits") -> None:
    """Remember data that were just read."""
    _data.put(splits.fingerprint, splits)


def session_parts(workspace: Workspace, session_id: str | None) -> tuple[Session, Variant]:
    """The session and its dense variant.

    Raises:
        EspalierError: when the job has no session, or model and data were not opened in it yet.
    """
    if session_id is None:
        raise EspalierError("This job belongs to a session; create one and open a model and data in it first.")
    session = workspace.store.get_session(session_id)
    return session, dense_variant(workspace, session)


def dense_variant(workspace: Workspace, session: Session) -> Variant:
    """The variant without a plan; EspalierError when model and data were not opened yet."""
    variant = workspace.store.dense_variant(session.id)
    if variant is None:
        raise EspalierError("Open a model and data in this session first.")
    return variant


def plan_sensitivity(workspace: Workspace, start: Variant, plan: Plan) -> Mapping[str, Any] | None:
    """The newest complete measurement, one with the plan's criterion first; the method says when it needs one.

    None for a plan that starts from a variant: what was measured belongs to the dense model.
    """
    if start.plan is not None:
        return None
    known = workspace.store.sensitivities(start.model_id, start.data_id)
    found = [item for item in known if item.complete and item.result.get("layers")]
    found.sort(key=lambda item: item.settings.get("criterion") == plan.criterion)
    return found[-1].result if found else None


def device() -> str:
    """The device for jobs: the chosen one; "auto" takes a CUDA device when there is one."""
    chosen = device_choice()
    if chosen != "auto":
        return chosen
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _moved(model: Any, place: str) -> Any:
    return model if place == "cpu" else model.to(place)
