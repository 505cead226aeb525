"""What the values of masks mean: a class list or palette beside the images, a known data set, or what masks hold."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError

__all__ = ["ClassList", "inferred_classes", "known_classes", "plain_values", "read_class_list"]

LIST_FILES = ("classes.txt", "labels.txt", "label_colors.txt", "class_names.txt")
TABLE_FILES = ("class_dict.csv", "classes.csv", "palette.csv")
JSON_FILES = ("classes.json", "palette.json")
VOID_NAMES = frozenset({"void", "ignore", "ignored", "unlabelled", "unlabeled", "unknown", "don't care"})
BORDER = 255

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
CAMVID_STEM = re.compile(r"^(0001TP_|0006R0_f|0016E5_|Seq05VD_f)\d+$")


@dataclass(frozen=True)
class ClassList:
    """Names by mask value; ``colours`` (uint8 ``[K, 3]``) where masks are colour pictures; ``void``: ignored value.

    ``void`` may lie among the names or beyond them; 255 is ignored too, unless ``foreground`` says that it is class 1.
    """

    names: tuple[str, ...]
    colours: np.ndarray | None = None
    void: int | None = None
    origin: str = ""
    foreground: bool = False

    def indices(self, mask: np.ndarray) -> np.ndarray:
        """A mask (integers ``[H, W]``, or colours ``[H, W, 3]``) as class numbers, uint8 ``[H, W]``.

        Raises:
            DataError: when a colour is not in the palette, or a value is no class and not ignored.
        """
        if mask.ndim == 3 and self.colours is not None:
            return self._from_colours(mask)
        values = plain_values(mask)
        present = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
        unknown = [value for value in present if value >= len(self.names) and value not in (self.void, BORDER)]
        if unknown:
            raise DataError(f"its values {unknown[:5]} are not among the {len(self.names)} classes")
        return values

    def settled(self, masks_NHW: np.ndarray) -> tuple[np.ndarray, int | None]:
        """Masks of class numbers with one ignored value at most, and that value (None: nothing is ignored)."""
        border = masks_NHW == BORDER
        if self.foreground:
            return border.astype(np.uint8), None
        if self.void is None:
            return masks_NHW, BORDER
        return np.where(border, np.uint8(self.void), masks_NHW), self.void

    def _from_colours(self, mask: np.ndarray) -> np.ndarray:
        assert self.colours is not None
        packed = mask.astype(np.int64) @ (65536, 256, 1)
        palette = self.colours.astype(np.int64) @ (65536, 256, 1)
        order = np.argsort(palette)
        place = np.minimum(np.searchsorted(palette[order], packed), len(palette) - 1)
        found = palette[order][place] == packed
        if not found.all():
            red, green, blue = mask[~found][0]
            raise DataError(f"the colour ({red}, {green}, {blue}) is not in the palette")
        return order[place].astype(np.uint8)


def plain_values(mask: np.ndarray) -> np.ndarray:
    """A mask without palette as uint8 ``[H, W]``; a grey picture stored as RGB counts with its grey value.

    Raises:
        DataError: when it is a colour picture, or has values beyond 0 … 255.
    """
    if mask.ndim == 3:
        if not (mask == mask[..., :1]).all():
            raise DataError("it is a colour picture, and there is no palette (class_dict.csv: name,r,g,b)")
        mask = mask[..., 0]
    if mask.min() < 0 or mask.max() > BORDER:
        raise DataError(f"its values {mask.min()} … {mask.max()} are no class numbers (0 … 255)")
    return mask.astype(np.uint8)


def read_class_list(folder: Path) -> ClassList | None:
    """The class list of a segmentation folder, or None when it has no such file.

    ``classes.txt``: one name per line, or ``index name``, or ``r g b name`` (CamVid's label_colors.txt);
    ``class_dict.csv``: ``name,r,g,b``; ``classes.json``: a list of names, or a dict from index (or name) to name (or
    colour). The names void, ignore, unlabelled, … mark the ignored value.

    Raises:
        DataError: when the file is there and cannot be understood; it names the line.
    """
    for name in (*TABLE_FILES, *LIST_FILES, *JSON_FILES):
        path = folder / name
        if path.is_file():
            try:
                text = path.read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"The class list {name} must be UTF-8 text: {error}.") from None
            read = _from_json if name in JSON_FILES else _from_table if name in TABLE_FILES else _from_lines
            return read(text, name)
    return None


def known_classes(stems: Sequence[str], values: Sequence[int]) -> ClassList | None:
    """CamVid in the 11 classes of SegNet, recognised by its file names and mask values 0 … 11 (11: void)."""
    if stems and all(CAMVID_STEM.match(stem) for stem in stems) and max(values, default=255) <= len(CAMVID_CLASSES):
        return ClassList(CAMVID_CLASSES, void=len(CAMVID_CLASSES), origin="the classes of CamVid")
    return None


def inferred_classes(values: Sequence[int]) -> ClassList:
    """Classes from the values that masks hold: 0 … K−1, and 255 ignored; {0, 255} is background and foreground.

    Raises:
        DataError: when there are fewer than two classes, or so many gaps that the values are no class numbers.
    """
    present = sorted(values)
    if present == [0, BORDER]:
        return ClassList(
            ("background", "foreground"),
            origin="the mask values 0 and 255, read as background and foreground",
            foreground=True,
        )
    classes = [value for value in present if value != BORDER]
    if len(classes) < 2:
        raise DataError(f"Masks must hold at least two classes; they hold the values {present}.")
    count = classes[-1] + 1
    if count > 2 * len(classes) + 8:
        raise DataError(
            f"Masks must hold class numbers 0, 1, 2, …; they hold {len(classes)} values up to {classes[-1]}. If they "
            "are grey levels or colours, add a class_dict.csv (name,r,g,b)."
        )
    return ClassList(
        tuple(f"class {index}" for index in range(count)), origin=f"the mask values 0 … {count - 1}, without names"
    )


def _class_list(names: list[str], colours: list[list[int]] | None, origin: str) -> ClassList:
    if not 2 <= len(names) <= BORDER:
        raise DataError(f"A class list must name 2 to {BORDER} classes; {origin} names {len(names)}.")
    void = next((index for index, name in enumerate(names) if name.strip().lower() in VOID_NAMES), None)
    if void == len(names) - 1:
        names = names[:-1]  # beyond the classes: models have no output for it
    array = None if colours is None else np.array(colours, np.uint8)
    return ClassList(tuple(names), colours=array, void=void, origin=origin)


def _from_lines(text: str, file: str) -> ClassList:
    rows = [line.split("#")[0].strip() for line in text.splitlines()]
    rows = [row for row in rows if row]
    coloured = [re.match(r"^(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(.+)$", row) for row in rows]
    if rows and all(coloured):
        found = [match.groups() for match in coloured if match]
        return _coloured([(name, (red, green, blue)) for red, green, blue, name in found], file)
    numbered = [re.match(r"^(\d+)[\s,:]+(.+)$", row) for row in rows]
    if rows and all(numbered):
        return _numbered({int(match[1]): match[2].strip() for match in numbered if match}, file)
    return _class_list(rows, None, file)


def _from_table(text: str, file: str) -> ClassList:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    if rows and not any(cell.isdigit() for cell in rows[0]):
        rows = rows[1:]  # the head
    if any(len(row) < 4 for row in rows):
        short = next(row for row in rows if len(row) < 4)
        raise DataError(f"Every line of {file} must be name,r,g,b; got {','.join(short)!r}.")
    return _coloured([(row[0], (row[1], row[2], row[3])) for row in rows], file)


def _from_json(text: str, file: str) -> ClassList:
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file} must be JSON: {error}.") from None
    if isinstance(body, list) and all(isinstance(name, str) for name in body):
        return _class_list(body, None, file)
    if isinstance(body, dict) and body:
        if all(str(key).isdigit() and isinstance(name, str) for key, name in body.items()):
            return _numbered({int(key): name for key, name in body.items()}, file)
        if all(isinstance(colour, list) and len(colour) == 3 for colour in body.values()):
            return _coloured([(name, tuple(map(str, colour))) for name, colour in body.items()], file)
    raise DataError(f"{file} must be a list of names, or a dict from index to name or from name to [r, g, b].")


def _numbered(names: dict[int, str], file: str) -> ClassList:
    beyond = {index: name for index, name in names.items() if name.lower() in VOID_NAMES}
    highest = max((index for index in names if index not in beyond), default=0)
    if highest > BORDER:
        raise DataError(f"Class numbers in {file} must be below 256; got {highest}.")
    ordered = [names.get(index, f"class {index}") for index in range(highest + 1)]
    listed = _class_list(ordered, None, file)
    if listed.void is None and beyond:
        return ClassList(listed.names, void=min(beyond), origin=file)
    return listed


def _coloured(rows: Sequence[tuple[str, Sequence[str]]], file: str) -> ClassList:
    colours = []
    for name, colour in rows:
        values = [int(value) if value.isdigit() else -1 for value in colour]
        if not all(0 <= value <= 255 for value in values):
            raise DataError(f"Colours in {file} must be three numbers 0 … 255; “{name}” has {list(colour)}.")
        colours.append(values)
    if len({tuple(colour) for colour in colours}) < len(colours):
        raise DataError(f"Every class in {file} must have its own colour; two are the same.")
    return _class_list([name.strip() for name, _ in rows], colours, file)
