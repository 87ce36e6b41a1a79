"""CSV: one row per box, columns `image_id, category_id, x, y, width, height, score, level`, as in Parquet.

`x, y` is the upper left corner in pixels. `category_id` and `level` may be missing; the defaults are 1 and 0 (unknown).
Other columns are ignored. An image id that is written as an integer is read as one, as in `image_id_of`; all others are
strings.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, ImagePredictions
from zip_keras.predictions.formats.common import ReadOptions, by_image, refuse_not_finite
from zip_keras.utils.files import atomic_write

COLUMNS = ("image_id", "category_id", "x", "y", "width", "height", "score", "level")
_NUMBERS = ("x", "y", "width", "height", "score")
_ABSENT = {"category_id": "1", "level": "0"}
_ROWS = 50_000  # rows read at once


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """Yield parts, from `_ROWS` rows at a time.

    Raises:
        UserError: not a CSV file with these columns, or a cell is not a number; the message names the line.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            columns = _columns(next(rows, []), file)
            while lines := [(rows.line_num, row) for row in itertools.islice(rows, _ROWS) if row]:
                yield from _parts(lines, columns, file)
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a csv file: {error}") from None
    except csv.Error as error:
        raise UserError(f"{file}: not a csv file: line {rows.line_num}: {error}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Write parts as a stream and return the number of boxes. Numbers keep all digits, so they are read unchanged."""
    count = 0
    with atomic_write(file) as unfinished, open(unfinished, "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        for part in parts:
            refuse_not_finite(part)
            check_ids(file, [part.image_id])
            columns = (part.categories.tolist(), part.xywh.tolist(), part.scores.tolist(), part.levels.tolist())
            for category, box, score, level in zip(*columns, strict=True):
                rows.writerow([part.image_id, category, *map(repr, box), repr(score), level])
            count += len(part)
    return count


def check_ids(file: str, ids: Iterable[ImageId]) -> None:
    """Raise `UserError` for a string id that would be read as an integer."""
    for image_id in ids:
        if isinstance(image_id, str) and type(_id(image_id)) is int:
            raise UserError(
                f"{file}: the image id {image_id!r} is a text, and csv would turn it into an integer; write .json, "
                ".npz, .pkl or .mat"
            )


def _columns(names: list[str], file: str) -> dict[str, int]:
    """The index of each column that exists."""
    names = [name.strip() for name in names]
    for name in ("image_id", *_NUMBERS):
        if name not in names:
            raise UserError(f"{file}: has no column {name!r}; the first line must name {', '.join(COLUMNS)}")
    for name in COLUMNS:
        if names.count(name) > 1:
            raise UserError(f"{file}: has the column {name!r} twice; drop one")
    return {name: names.index(name) for name in COLUMNS if name in names}


def _parts(lines: list[tuple[int, list[str]]], columns: dict[str, int], file: str) -> Iterator[ImagePredictions]:
    try:
        cells = {name: [row[column] for _, row in lines] for name, column in columns.items()}
        numbers = np.array([[float(cell) for cell in cells[name]] for name in _NUMBERS], np.float64)
        whole = {
            name: np.array([int(cell) for cell in cells.get(name, [absent] * len(lines))], np.int64)
            for name, absent in _ABSENT.items()
        }
        if whole["level"].min(initial=0) < 0:
            raise ValueError
    except (ValueError, IndexError, OverflowError):
        raise _first_fault(lines, columns, file) from None
    for image_id, rows in by_image([_id(cell) for cell in cells["image_id"]]):
        yield ImagePredictions(
            image_id, numbers[:4, rows].T, numbers[4, rows], whole["category_id"][rows], whole["level"][rows]
        )


def _first_fault(lines: list[tuple[int, list[str]]], columns: dict[str, int], file: str) -> UserError:
    for number, row in lines:
        for name, column in columns.items():
            cell = row[column] if column < len(row) else "nothing"
            if name in _NUMBERS and not _is(float, cell):
                return UserError(f"{file}: line {number}: {name} is {cell!r}, not a number")
            if name in _ABSENT and (not _is(int, cell) or (name == "level" and int(cell) < 0)):
                return UserError(
                    f"{file}: line {number}: {name} is {cell!r}, not a whole number" + " from 0" * (name == "level")
                )
    return UserError(f"{file}: lines {lines[0][0]} to {lines[-1][0]} hold numbers that are too large")


def _is(kind: Any, cell: str) -> bool:
    try:
        kind(cell)
    except (ValueError, OverflowError):
        return False
    return True


def _id(cell: str) -> ImageId:
    """An integer only if its text equals the cell: "007" stays a string."""
    return int(cell) if cell.removeprefix("-").isdecimal() and str(int(cell)) == cell else cell
