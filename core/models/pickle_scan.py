"""Read a pickle without running it: which Python objects it names, and how large it would unfold.

A small abstract machine over ``pickletools.genops``: the stack holds sizes instead of objects. It never imports, calls
or allocates what the pickle asks for. PyTorch's own restricted unpickler decides what is loaded; this scan comes first,
to bound the work and to say in words what the file is.
"""

import pickletools
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import CheckpointError

__all__ = ["scan_pickle"]

MAX_OPERATIONS = 800_000  # 10,000 tensors take about 300,000
MAX_UNFOLDED = 50_000_000  # items after unfolding shared references; hashing a nested tuple visits each of them

_TO_CONTAINER = {"APPENDS", "SETITEMS", "ADDITEMS"}
_ONE_TO_CONTAINER = {"APPEND": 1, "SETITEM": 2}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}


@dataclass(slots=True, eq=False)
class _Item:
    """Stands for one object: its unfolded size, and its text when it is a string."""

    size: int = 1
    text: str | None = None


_MARK = _Item(0)


def scan_pickle(stream: BinaryIO) -> tuple[str, ...]:
    """The dotted names of all Python objects that the next pickle of ``stream`` refers to, in order of appearance.

    The stream should be in memory: hostile lengths are then bounded by what is there. It is left behind the pickle.

    Raises:
        CheckpointError: the pickle is damaged, has too many operations, or unfolds beyond any real checkpoint.
    """
    try:
        return _Machine().run(stream)
    except (ValueError, IndexError, KeyError, OverflowError):  # what pickletools and the machine raise on nonsense
        raise CheckpointError(
            "The file is damaged or incomplete: its table of contents cannot be read. Save or upload it again."
        ) from None


class _Machine:
    """The stack and the memo of an unpickler, with sizes for objects."""

    def __init__(self) -> None:
        self.stack: list[_Item] = []
        self.memo: dict[int, _Item] = {}
        self.names: dict[str, None] = {}

    def run(self, stream: BinaryIO) -> tuple[str, ...]:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            self._step(operation, argument)
            if count > MAX_OPERATIONS or (self.stack and self.stack[-1].size > MAX_UNFOLDED):
                raise CheckpointError(
                    "The file's table of contents is far larger than any checkpoint needs, so it was not read. "
                    "Save only model.state_dict()."
                )
        return tuple(self.names)

    def _step(self, operation: pickletools.OpcodeInfo, argument: object) -> None:
        name, stack = operation.name, self.stack
        if name == "MARK":
            stack.append(_MARK)
        elif name in _PUT and isinstance(argument, int):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _GET and isinstance(argument, int):
            stack.append(self.memo[argument])
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in _TO_CONTAINER:
            added = self._pop_to_mark()
            stack[-1].size += added
        elif name in _ONE_TO_CONTAINER:
            added = self._pop(_ONE_TO_CONTAINER[name])
            stack[-1].size += added
        else:
            self._note_name(name, argument)
            self._generic(operation, argument)

    def _generic(self, operation: pickletools.OpcodeInfo, argument: object) -> None:
        """Pop what the operation takes and push as many results as it gives, each as large as all that went in."""
        before = operation.stack_before
        if pickletools.markobject in before:
            size = self._pop_to_mark() + self._pop(before.index(pickletools.markobject))
        elif operation.name == "POP" and self.stack[-1] is _MARK:
            size = self._pop(1)
        else:
            size = self._pop(len(before))
        text = argument if isinstance(argument, str) else None
        self.stack.extend(_Item(1 + size, text) for _ in operation.stack_after)

    def _note_name(self, operation: str, argument: object) -> None:
        if operation in ("GLOBAL", "INST"):
            self.names[str(argument).replace(" ", ".")] = None
        elif operation == "STACK_GLOBAL":
            module, attribute = self.stack[-2].text, self.stack[-1].text
            self.names[f"{module}.{attribute}"] = None
        elif operation.startswith("EXT"):
            self.names[f"copyreg extension {argument}"] = None

    def _pop(self, count: int) -> int:
        if count == 0:
            return 0
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("stack underflow")
        del self.stack[-count:]
        return sum(item.size for item in items)

    def _pop_to_mark(self) -> int:
        size = 0
        while (item := self.stack.pop()) is not _MARK:
            size += item.size
        return size
