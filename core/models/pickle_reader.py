"""Read a pickle without running it: plain values as they are, and everything else as the name that it asks for.

A small unpickler over ``pickletools.genops``. It imports and calls nothing: what a pickle names becomes ``Named``, what
it would call becomes ``Made``. It hashes, compares and copies nothing that is nested, so that a pickle which would
unfold without end stays as small as its bytes. Knows no torch.
"""

import pickletools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..errors import CheckpointError

__all__ = ["Made", "Named", "Persistent", "Pickle", "kind_of", "read_pickle"]

MAX_OPERATIONS = 800_000  # 10,000 tensors take about 300,000

_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
_PLAIN_KEYS = (str, int, float, bool, bytes, type(None))


@dataclass(frozen=True, slots=True)
class Named:
    """A Python object that a pickle refers to by name, as ``collections.OrderedDict``; it was not imported."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What calling ``maker`` with ``arguments`` would have made; it was not called."""

    maker: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """A reference to something outside the pickle; PyTorch's storages are."""

    identity: Any


@dataclass(frozen=True, slots=True, eq=False)
class _OddKey:
    """A dictionary key that is no plain value: compared by identity, never hashed by its content."""

    value: Any


class _Mark:
    pass


_MARK = _Mark()


def kind_of(value: Any) -> str:
    """What a value is, in a word: ``int``, ``list``, ``Namespace``."""
    if isinstance(value, _OddKey):
        return kind_of(value.value)
    if isinstance(value, Named | Made):
        name = value.name if isinstance(value, Named) else value.maker
        return name.rpartition(".")[2]
    return "storage" if isinstance(value, Persistent) else type(value).__name__


@dataclass(frozen=True)
class Pickle:
    """What a pickle holds, the dotted names that it refers to in order of appearance, and its outside references."""

    value: Any
    names: tuple[str, ...]
    references: tuple[Persistent, ...]


def read_pickle(stream: BinaryIO) -> Pickle:
    """The next pickle in ``stream``.

    The stream should be in memory: hostile lengths are then bounded by what is there. It is left behind the pickle.

    Raises:
        CheckpointError: the pickle is damaged, or has more operations than any real checkpoint.
    """
    reader = _Reader()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pickletools about escapes in damaged text
            value = reader.run(stream)
    # What pickletools and the reader raise on nonsense.
    except (ValueError, IndexError, KeyError, OverflowError, TypeError, AttributeError):
        raise CheckpointError(
            "The file is damaged or incomplete: its table of contents cannot be read. Save or upload it again."
        ) from None
    return Pickle(value, tuple(reader.names), tuple(reader.references))


@dataclass(slots=True)
class _Reader:
    """The stack and the memo of an unpickler that makes nothing but plain values."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    references: list[Persistent] = field(default_factory=list)
    steps: int = 0

    def run(self, stream: BinaryIO) -> Any:
        for operation, argument, _ in pickletools.genops(stream):
            self.spend(1)
            if operation.name == "STOP":
                return self.stack.pop()
            _OPERATIONS[operation.name](self, argument)
        raise ValueError("no end")

    def spend(self, steps: int) -> None:
        """Count work, of which there is not without end."""
        self.steps += steps
        if self.steps > MAX_OPERATIONS:
            raise CheckpointError(
                "The file's table of contents is far larger than any checkpoint needs, so it was not read. "
                "Save only model.state_dict()."
            )

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        """Everything above the last mark, which goes, too."""
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        items.reverse()
        return items

    def named(self, name: str) -> Named:
        self.names[name] = None
        return Named(name)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def pop(self) -> None:
        self.stack.pop()

    def pop_mark(self) -> None:
        self.pop_to_mark()

    def refer(self, identity: Any) -> None:
        self.references.append(Persistent(identity))
        self.push(self.references[-1])

    def append(self, values: list[Any]) -> None:
        """Add to the list (or set) on top; of other objects only plain ones are kept."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def set_items(self, pairs: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(_pairs(pairs))

    def stack_global(self) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        self.push(self.named(f"{module!s}.{attribute!s}" if isinstance(module, str) else "an unnamed object"))

    def call(self, maker: Any, arguments: Any) -> None:
        name = maker.name if isinstance(maker, Named) else "an unnamed object"
        given = arguments if isinstance(arguments, tuple) else ()
        self.push(self.mapping(given) if name in _MAPPINGS else Made(name, given))

    def mapping(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        """Dictionaries of any kind are plain ones here, with what they are made from."""
        content = arguments[-1] if arguments else None
        if isinstance(content, dict):
            return content
        if isinstance(content, list):  # of pairs, as Python 2 wrote them
            self.spend(len(content))
            pairs = [pair for pair in content if isinstance(pair, list | tuple) and len(pair) == 2]
            return dict(_pairs([part for pair in pairs for part in pair]))
        return {}

    def reduce(self) -> None:
        arguments, maker = self.stack.pop(), self.stack.pop()
        self.call(maker, arguments)

    def new_object_with_keywords(self) -> None:
        self.stack.pop()
        self.reduce()

    def new_object_from_mark(self) -> None:
        maker, *arguments = self.pop_to_mark()
        self.call(maker, tuple(arguments))


def _pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    keys = (key if isinstance(key, _PLAIN_KEYS) else _OddKey(key) for key in items[::2])
    return zip(keys, items[1::2], strict=True)


def _grouped(count: int) -> Callable[[_Reader, Any], None]:
    """An operation that makes a tuple of the last ``count`` items."""

    def operation(reader: _Reader, _: Any) -> None:
        if len(reader.stack) < count:
            raise IndexError("stack underflow")
        items = tuple(reader.stack[-count:])
        del reader.stack[-count:]
        reader.push(items)

    return operation


_VALUES = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip

# Every operation that is not here (out-of-band buffers) makes the file unreadable.
_OPERATIONS: dict[str, Callable[[_Reader, Any], None]] = {
    **dict.fromkeys(_VALUES, _Reader.push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Reader.put),
    **{name: lambda r, index: r.push(r.memo[index]) for name in ("GET", "BINGET", "LONG_BINGET")},
    **{name: lambda r, code: r.push(r.named(f"copyreg extension {code}")) for name in ("EXT1", "EXT2", "EXT4")},
    **{name: lambda r, _: None for name in ("PROTO", "FRAME")},
    "MEMOIZE": lambda r, _: r.put(len(r.memo)),
    "MARK": lambda r, _: r.push(_MARK),
    "POP": lambda r, _: r.pop(),
    "POP_MARK": lambda r, _: r.pop_mark(),
    "DUP": lambda r, _: r.push(r.stack[-1]),
    "NONE": lambda r, _: r.push(None),
    "NEWTRUE": lambda r, _: r.push(True),
    "NEWFALSE": lambda r, _: r.push(False),
    "EMPTY_LIST": lambda r, _: r.push([]),
    "EMPTY_TUPLE": lambda r, _: r.push(()),
    "EMPTY_DICT": lambda r, _: r.push({}),
    "EMPTY_SET": lambda r, _: r.push([]),
    "LIST": lambda r, _: r.push(r.pop_to_mark()),
    "FROZENSET": lambda r, _: r.push(r.pop_to_mark()),
    "TUPLE": lambda r, _: r.push(tuple(r.pop_to_mark())),
    "TUPLE1": _grouped(1),
    "TUPLE2": _grouped(2),
    "TUPLE3": _grouped(3),
    "DICT": lambda r, _: r.push(dict(_pairs(r.pop_to_mark()))),
    "APPEND": lambda r, _: r.append([r.stack.pop()]),
    "APPENDS": lambda r, _: r.append(r.pop_to_mark()),
    "ADDITEMS": lambda r, _: r.append(r.pop_to_mark()),
    "SETITEM": lambda r, _: r.set_items([r.stack.pop(-2), r.stack.pop()]),
    "SETITEMS": lambda r, _: r.set_items(r.pop_to_mark()),
    "GLOBAL": lambda r, name: r.push(r.named(name.replace(" ", "."))),
    "STACK_GLOBAL": lambda r, _: r.stack_global(),
    "INST": lambda r, name: r.call(r.named(name.replace(" ", ".")), tuple(r.pop_to_mark())),
    "OBJ": lambda r, _: r.new_object_from_mark(),
    "NEWOBJ": lambda r, _: r.reduce(),
    "NEWOBJ_EX": lambda r, _: r.new_object_with_keywords(),
    "REDUCE": lambda r, _: r.reduce(),
    "BUILD": lambda r, _: r.pop(),
    "PERSID": lambda r, name: r.refer(name),
    "BINPERSID": lambda r, _: r.refer(r.stack.pop()),
}
