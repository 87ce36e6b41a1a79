"""COCO results: a JSON list of `{"image_id", "category_id", "bbox": [x, y, width, height], "score"}`.

A row whose level is known also has `"level"`, an integer from 1, which pycocotools and other tools ignore. Files with
millions of rows are read and written in pieces, because `json.load` would take about 500 bytes per box.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImagePredictions
from zip_keras.predictions.formats.common import ReadOptions, by_image, refuse_not_finite
from zip_keras.utils.files import atomic_write
from zip_keras.utils.reading import Budget, open_regular, parse_json

_PIECE = 1 << 22  # characters parsed at a time, about 30,000 rows
_LONGEST_ROW = 1 << 26  # characters; a row with a run-length mask has a few thousand
_BUDGET = Budget(bytes=4 * _LONGEST_ROW, nodes=10_000_000, depth=8)
# A row may contain nested objects but no list of objects; run-length masks contain no braces.
_BETWEEN_ROWS = re.compile(r"\}\s*,\s*(?=\{)")


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """Yield parts, from one piece of the file at a time.

    Raises:
        UserError: not a JSON list of COCO results; the message names the row.
    """
    first_row = 0
    try:
        with open_regular(file) as binary, io.TextIOWrapper(binary, encoding="utf-8") as stream:
            for rows in _pieces(stream, file):
                yield from _parts(rows, first_row, file)
                first_row += len(rows)
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a json file: {error}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from None


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Write parts as a stream and return the number of boxes. Numbers keep all digits, so they are read unchanged."""
    count = 0
    with atomic_write(file) as unfinished, open(unfinished, "w", encoding="utf-8") as stream:
        stream.write("[")
        for part in parts:
            refuse_not_finite(part)
            image_id = json.dumps(part.image_id)
            columns = (part.xywh.tolist(), part.scores.tolist(), part.categories.tolist(), part.levels.tolist())
            for box, score, category, level in zip(*columns, strict=True):
                row = f'"image_id": {image_id}, "category_id": {category}, "bbox": {box}, "score": {score!r}'
                row += f', "level": {level}' if level else ""
                stream.write((",\n" if count else "\n") + f"{{{row}}}")
                count += 1
        stream.write("\n]\n")
    return count


def _pieces(stream: TextIO, file: str) -> Iterator[list[Any]]:
    """Yield lists of rows; a row that is split between two pieces is in the later list."""
    text = stream.read(_PIECE).lstrip("\ufeff \t\r\n")
    if not text.startswith("["):
        kind = "a json object" if text.startswith("{") else "no json list"
        raise UserError(f'{file}: {kind}; proposals are a list of {{"image_id", "bbox", "score"}} (COCO results)')
    text = text[1:]
    while more := stream.read(_PIECE):
        ends = [match.end() for match in _BETWEEN_ROWS.finditer(text)]
        if ends:
            whole, text = text[: ends[-1]], text[ends[-1] :]
            yield _parse(f"[{whole.rstrip().rstrip(',')}]", file)
        elif len(text) > _LONGEST_ROW:
            raise UserError(f"{file}: a row of more than {_LONGEST_ROW:,} characters; these are not COCO results")
        text += more
    if rows := _parse(f"[{text}", file):
        yield rows


def _parse(text: str, file: str) -> list[Any]:
    try:
        content = parse_json(text, file, _BUDGET)
    except UserError as error:
        raise UserError(f"{error}; broken json, or a file that was not written to its end?") from None
    if not isinstance(content, list):
        raise UserError(f"{file}: broken json: no list of rows; was the file written to its end?")
    return content


def _parts(rows: list[Any], first_row: int, file: str) -> Iterator[ImagePredictions]:
    try:
        ids = [row["image_id"] for row in rows]
        # No dtype is given, because NumPy would convert "1" to 1.0 and null to NaN.
        xywh, scores = np.array([row["bbox"] for row in rows]), np.array([row["score"] for row in rows])
        categories = np.array([row.get("category_id", 1) for row in rows])
        levels = np.array([row.get("level", 0) for row in rows])
        integers = categories.dtype.kind in "iu" and levels.dtype.kind in "iu" and levels.min(initial=0) >= 0
        numbers = xywh.dtype.kind in "iuf" and scores.dtype.kind in "iuf" and integers
        if not numbers or xywh.shape != (len(rows), 4) or not all(type(i) is int or type(i) is str for i in ids):
            raise ValueError
        xywh, scores = xywh.astype(np.float64), scores.astype(np.float64)
        categories, levels = categories.astype(np.int64), levels.astype(np.int64)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise _first_fault(rows, first_row, file) from None
    for image_id, chosen in by_image(ids):
        yield ImagePredictions(image_id, xywh[chosen], scores[chosen], categories[chosen], levels[chosen])


def _first_fault(rows: list[Any], first_row: int, file: str) -> UserError:
    for position, row in enumerate(rows, first_row):
        where = f"{file}: row {position}"
        if not isinstance(row, dict):
            return UserError(f"{where} is {str(row)[:40]!r}, not an object with image_id, bbox and score")
        for key in ("image_id", "bbox", "score"):
            if key not in row:
                return UserError(f"{where} has no '{key}'")
        if type(row["image_id"]) not in (int, str):
            return UserError(f"{where}: image_id {row['image_id']!r} is neither an integer nor a text")
        box = row["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            return UserError(f"{where}: bbox {str(box)[:60]} is not four numbers [x, y, width, height]")
        if not _is_number(row["score"]):
            return UserError(f"{where}: score {row['score']!r} is not a number")
        if type(row.get("category_id", 1)) is not int:
            return UserError(f"{where}: category_id {row['category_id']!r} is not an integer")
        if type(row.get("level", 0)) is not int or row.get("level", 0) < 0:
            return UserError(
                f"{where}: level {row['level']!r} is not an integer from 1 (0 or no level: not known); rename the key "
                "if it means something else"
            )
    return UserError(f"{file}: rows {first_row} to {first_row + len(rows) - 1} are not COCO results")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
