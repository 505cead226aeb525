"""What the makers in PyTorch's pickles mean: tensors as windows on stored numbers. Knows no torch, makes no tensor."""

import math
from dataclasses import dataclass
from typing import Any

from .pickle_reader import Made, Named, Persistent, kind_of

__all__ = ["ITEM_BYTES", "Storage", "StoredTensor", "is_inert", "is_tensor", "storage_of", "stored_tensor"]

# Names of types as safetensors writes them.
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_STORAGES = {
    "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "ComplexFloat": "C64", "Long": "I64",
    "Int": "I32", "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "Untyped": "U8",
}  # fmt: skip
# Types of which a file may hold storages without holding weights that can be read.
_OTHER_STORAGES = {"ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1}
_NEW_TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "complex64": "C64", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_PLAIN = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
_AROUND = {"_rebuild_parameter", "_rebuild_parameter_with_state"}
_PLAIN_CLASSES = {"torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"}
_UNREADABLE = {
    "_rebuild_sparse_tensor": "is sparse; save it with tensor.to_dense()",
    "_rebuild_qtensor": "is quantized; save the model before quantization",
    "_rebuild_meta_tensor_no_storage": "has no values (it lies on the meta device); materialise the model before "
    "saving it",
    "_rebuild_nested_tensor": "is a nested tensor; save it as ordinary tensors",
    "_rebuild_wrapper_subclass": "is a tensor of a class of its own; save it as an ordinary tensor",
    "_rebuild_device_tensor_from_numpy": "was saved on another kind of device; save it with tensor.cpu()",
    "_rebuild_device_tensor_from_cpu_tensor": "was saved on another kind of device; save it with tensor.cpu()",
}
_MAX_DIMENSIONS = 64
# Objects that training scripts put beside the weights. None of them is made or used: they are only no reason to refuse.
_BESIDE = {
    "argparse.Namespace", "builtins.set", "builtins.frozenset", "builtins.complex", "builtins.slice", "builtins.range",
    "builtins.bytearray", "builtins.list", "builtins.tuple", "builtins.int", "builtins.float", "builtins.str",
    "builtins.bool", "__builtin__.set", "__builtin__.frozenset", "_codecs.encode", "collections.OrderedDict",
    "collections.defaultdict", "collections.Counter", "collections.deque", "builtins.dict", "datetime.date",
    "datetime.datetime", "datetime.timedelta", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath",
    "pathlib.PurePosixPath", "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray.scalar", "numpy._core.multiarray._reconstruct",
    "torch.Size", "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
    "torch.strided", "torch.sparse_coo", "torch.per_tensor_affine", "torch.per_channel_affine",
    "torch.serialization._get_layout", "torch._tensor._rebuild_from_type_v2",
}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file; ``first``: where a view of an older file begins in it."""

    key: str
    kind: str | None  # of ITEM_BYTES, or None for numbers that cannot be read
    numel: int
    item_bytes: int
    first: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole row."""
        return self.numel * self.item_bytes


@dataclass(frozen=True)
class StoredTensor:
    """A window on a storage. ``offset`` and ``strides`` count numbers, not bytes."""

    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage

    @property
    def numel(self) -> int:
        """Numbers that the tensor shows; may be more than are stored."""
        return math.prod(self.shape)

    @property
    def item_bytes(self) -> int:
        """Bytes of one number."""
        return ITEM_BYTES[self.kind]

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor when it is written in full."""
        return self.numel * self.item_bytes

    @property
    def extent(self) -> int:
        """Numbers from the first one it shows to the last one, in storage order."""
        if self.numel == 0:
            return 0
        return 1 + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))

    @property
    def contiguous(self) -> bool:
        """Whether the numbers lie in the order in which they are read."""
        expected = 1
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != expected:
                return self.numel == 0
            expected *= length
        return True


def is_inert(name: str) -> bool:
    """Whether a name in a pickle stands for weights, or for an object that is harmless beside them."""
    module, _, attribute = name.rpartition(".")
    if module == "torch._utils":
        return attribute in _PLAIN | _AROUND or attribute in _UNREADABLE
    if attribute.endswith("Storage") and (module in ("torch", "torch.storage", "torch.cuda")):
        return True
    return name in _BESIDE or (module == "torch" and attribute in _NEW_TYPES)


def is_tensor(value: Any) -> bool:
    """Whether a value of a pickle stands for a tensor, readable or not."""
    return isinstance(value, Made) and (
        value.maker.removeprefix("torch._utils.") in _PLAIN | _AROUND | set(_UNREADABLE)
        or value.maker == "torch._tensor._rebuild_from_type_v2"
    )


def storage_of(reference: Any) -> Storage:
    """The storage that a persistent reference names: ``("storage", type, key, location, numel[, view])``.

    Raises:
        ValueError: the reference is none that PyTorch writes.
    """
    parts = reference.identity if isinstance(reference, Persistent) else None
    if not isinstance(parts, tuple) or len(parts) not in (5, 6) or parts[0] != "storage":
        raise ValueError("a reference that PyTorch does not write")
    _, type_name, key, _, numel = parts[:5]
    view = parts[5] if len(parts) == 6 else None
    kind_name = kind_of(type_name).removesuffix("Storage")
    if not isinstance(type_name, Named) or not isinstance(key, str | int) or not _whole(numel):
        raise ValueError("a storage that is not described in full")
    kind = _STORAGES.get(kind_name)
    item_bytes = ITEM_BYTES[kind] if kind else _OTHER_STORAGES.get(kind_name, 0)
    if not item_bytes:
        raise ValueError("a storage of an unknown type")
    first = view[1] if isinstance(view, tuple) and len(view) == 3 else 0
    if not _whole(first):
        raise ValueError("a view without a beginning")
    return Storage(str(key), kind, numel, item_bytes, first)


def stored_tensor(value: Made) -> StoredTensor | str:
    """The window that a pickled tensor is, or in words why it cannot be read: “is sparse; …”.

    Raises:
        ValueError: its description contradicts itself; the file is damaged.
    """
    for _ in range(8):  # parameters around tensors
        maker = value.maker.removeprefix("torch._utils.")
        if maker in _UNREADABLE:
            return _UNREADABLE[maker]
        if maker in _PLAIN:
            return _window(maker, value.arguments)
        inner = _inner(value)
        if isinstance(inner, str):
            return inner
        value = inner
    raise ValueError("parameters inside parameters")


def _inner(value: Made) -> Made | str:
    if value.maker == "torch._tensor._rebuild_from_type_v2":
        maker, kind, arguments = value.arguments[:3]
        if not isinstance(maker, Named) or not isinstance(kind, Named) or not isinstance(arguments, tuple):
            raise ValueError("a tensor that is not described in full")
        if kind.name not in _PLAIN_CLASSES:
            return "is a tensor of a class of its own; save it as an ordinary tensor"
        return Made(maker.name, arguments)
    inner = value.arguments[0] if value.arguments else None
    if not isinstance(inner, Made):
        raise ValueError("a parameter without a tensor")
    return inner


def _window(maker: str, arguments: tuple[Any, ...]) -> StoredTensor | str:
    reference, offset, shape, strides = arguments[:4]
    storage = storage_of(reference)
    shape = shape.arguments[0] if isinstance(shape, Made) and shape.maker == "torch.Size" else shape
    if not _whole(offset) or not _sizes(shape) or not _sizes(strides) or len(shape) != len(strides):
        raise ValueError("sizes that are none")
    kind = storage.kind
    if maker == "_rebuild_tensor_v3":
        dtype = kind_of(arguments[6]) if len(arguments) > 6 else ""
        kind = _NEW_TYPES.get(dtype)
        if kind is None:
            return f"has the type {dtype[:40]}, which cannot be read; save it in floating point"
    if kind is None:
        return "has a type that cannot be read (128-bit complex or quantized); save it in floating point"
    metadata = arguments[-1] if len(arguments) > 6 and isinstance(arguments[-1], dict) else {}
    if metadata.get("conj") or metadata.get("neg"):
        return "is a view that is still to be conjugated or negated; save it with tensor.clone()"
    return StoredTensor(kind, shape, strides, offset + storage.first, storage)


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**62


def _sizes(numbers: Any) -> bool:
    return isinstance(numbers, tuple) and len(numbers) <= _MAX_DIMENSIONS and all(map(_whole, numbers))
