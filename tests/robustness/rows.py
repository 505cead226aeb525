"""The list of bad inputs (B) and faults (F) that Espalier is to survive, and which test proves which row.

A test says its rows by ``@pytest.mark.row("B07", …)``, or by the beginning of its parameter's name (``B07 stride 0``).
``python -m tests.robustness.table`` prints the list with what the tests say.
"""

import re
from collections.abc import Iterable, Iterator

__all__ = ["ROWS", "rows_of"]

ROWS = {
    "B01": "empty checkpoint, safetensors, ONNX or image file",
    "B02": "truncated checkpoint (half, last 10 bytes)",
    "B03": "one flipped byte in a tensor",
    "B04": "code in a pickle, new and old format",
    "B05": "a whole pickled module",
    "B06": "pickle bombs",
    "B07": "a tensor that claims 10 GB",
    "B08": "other content under the name of a checkpoint",
    "B09": "TorchScript, .keras, .h5, .tar, .pkl, .pt2, ONNX",
    "B10": "safetensors header of 1 TB or 99 MB",
    "B11": "safetensors with overlap, hole, trailing bytes, overflow, a name twice",
    "B12": "hostile names: long, ../, NUL, right-to-left, markup",
    "B13": "more than 10,000 tensors",
    "B14": "NaN or infinite weights",
    "B15": "a layer of zeros or of one value",
    "B16": "a state dict of other shapes",
    "B17": "missing and extra keys, prefixes, nesting",
    "B18": "a state dict that is none",
    "B19": "other types of numbers, sparse, quantized, meta",
    "B20": "weights beyond the upload limit or the memory",
    "B21": "odd names of files and sessions",
    "B22": "two files of one name; one file twice",
    "B23": "a model without a prunable layer",
    "B24": "tied and shared parameters",
    "B25": "frozen parameters, no gradients",
    "B26": "coupled channels: residual, concatenation, depthwise, attention",
    "B27": "a model that cannot be traced",
    "B28": "a model with two inputs",
    "B29": "other batch and input sizes; batch 1",
    "B30": "ONNX with external data",
    "B31": "ONNX garbage, unknown operations, other opsets, 2 GB",
    "B32": "sparsity 0",
    "B33": "sparsity 1, more, less than 0, NaN, “0,5”, nothing",
    "B34": "no layer, all layers, layers of another model",
    "B35": "equal scores everywhere",
    "B36": "data of one class, no or one example, wrong labels",
    "B37": "odd, damaged and enormous images",
    "B38": "normalisation missing or on the wrong scale",
    "B39": "bundle that writes outside, links, names twice",
    "B40": "bundle that is a bomb",
    "B41": "bundle of another version, missing files, wrong hash",
    "B42": "share link wrong, revoked, guessed, writing",
    "B43": "hostile query parameters",
    "B44": "the state of a tab is lost",
    "B45": "formulas in CSV files",
    "B46": "two tabs or people edit one session",
    "B47": "double click, run in two tabs, too many jobs",
    "B48": "settings changed during a run",
    "B49": "widget values of an older version",
    "B50": "the clock steps back; time zones",
    "F01": "kill -9 in mid-run, restart, resume",
    "F02": "SIGTERM in mid-run",
    "F03": "kill -9 while writing",
    "F04": "disk full",
    "F05": "read-only, missing or foreign data folder",
    "F06": "database locked or damaged",
    "F07": "two servers on one folder",
    "F08": "out of memory in a job",
    "F09": "exception, SystemExit, KeyboardInterrupt, segfault in a job",
    "F10": "cancel in each phase",
    "F11": "cancel twice, after the end, a job of another",
    "F12": "tab closed during a run and opened again",
    "F13": "connection cut, server paused",
    "F14": "NaN loss",
    "F15": "the same run again, on 1 and 2 threads",
    "F16": "20 people poll while a run trains",
    "F17": "hot reload during a run",
    "F18": "no internet",
    "F19": "optional parts missing",
    "F20": "leaks over 200 sessions and 50 jobs",
}

_PARAMETER = re.compile(r"\[([BF]\d\d) ")


def rows_of(nodeid: str, marked: Iterable[str]) -> Iterator[str]:
    """The rows that a test proves, by its marks and the name of its parameter."""
    yield from marked
    found = _PARAMETER.search(nodeid)
    if found:
        yield found.group(1)
