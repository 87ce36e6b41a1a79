"""Parquet: one row per box, columns `image_id, category_id, x, y, width, height, score, level`.

`category_id` and `level` may be missing; the defaults are 1 and 0 (unknown).
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, ImagePredictions
from zip_keras.predictions.formats.common import ReadOptions, by_image, refuse_not_finite
from zip_keras.utils.archives import check_expansion
from zip_keras.utils.files import atomic_write
from zip_keras.utils.optional import optional_import

_NUMBERS = ("x", "y", "width", "height", "score")
_ROWS = 100_000  # rows per row group and in memory at once


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """Yield one part for each image of a batch of rows; rows may be in any order.

    Raises:
        UserError: pyarrow is missing, not a Parquet file, or a column is missing or of the wrong type.
    """
    pyarrow, parquet = _libraries(file)
    try:
        with parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            columns = [name for name in ("image_id", "category_id", *_NUMBERS, "level") if name in names]
            if twice := [name for name in columns if names.count(name) > 1]:
                raise UserError(f"{file}: has two columns '{twice[0]}'; drop one")
            missing = [name for name in ("image_id", *_NUMBERS) if name not in names]
            if missing:
                raise UserError(f"{file}: has no column '{missing[0]}'; it needs image_id, {', '.join(_NUMBERS)}")
            for name in columns:
                _check_type(pyarrow.types, name, table.schema_arrow.field(name).type, file)
            check_expansion(file, table.metadata.num_rows * len(columns) * 8, os.path.getsize(file))
            for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
                yield from _parts(batch, file)
    except (pyarrow.ArrowException, OSError, UnicodeError, OverflowError) as error:
        raise UserError(f"{file}: not a parquet file of proposals: {error}") from None


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Write parts in row groups of at least `_ROWS` rows, except the last; return the number of boxes."""
    count = 0
    with atomic_write(file) as unfinished:
        writer = _Writer(file, str(unfinished))
        try:
            for part in parts:
                refuse_not_finite(part)
                writer.add(part)
                count += len(part)
            writer.flush()
        finally:
            writer.close()
    return count


def check_ids(file: str, ids: Iterable[ImageId]) -> None:
    """Raise `UserError` if some ids are integers and some strings, which one column cannot store."""
    if len({type(image_id) for image_id in ids}) > 1:
        raise _mixed_ids(file)


def _mixed_ids(file: str) -> UserError:
    return UserError(
        f"{file}: some image ids are integers and some are texts, which one column cannot hold; write .json, .npz, "
        ".pkl or .mat"
    )


class _Writer:
    """Buffers parts; the type of the first image id sets the type of the column."""

    def __init__(self, file: str, path: str):
        self._arrow, self._parquet = _libraries(file)
        self._file, self._path = file, path
        self._kind: type | None = None
        self._writer: Any = None
        self._parts: list[ImagePredictions] = []
        self._rows = 0

    def add(self, part: ImagePredictions) -> None:
        if self._kind is None:
            self._kind = type(part.image_id)
        if type(part.image_id) is not self._kind:
            raise _mixed_ids(self._file)
        self._parts.append(part)
        self._rows += len(part)
        if self._rows >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the buffered parts; the first call also creates the file."""
        arrow = self._arrow
        kind = arrow.string() if self._kind is str else arrow.int64()
        fields = [("image_id", kind), ("category_id", arrow.int64()), *((name, arrow.float64()) for name in _NUMBERS)]
        schema = arrow.schema([*fields, ("level", arrow.int64())])
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._path, schema)
        if self._rows:
            ids = [part.image_id for part in self._parts for _ in range(len(part))]
            xywh = np.concatenate([part.xywh for part in self._parts])
            columns = [
                arrow.array(ids, kind),
                np.concatenate([part.categories for part in self._parts]),
                *xywh.T.copy(),
                np.concatenate([part.scores for part in self._parts]),
                np.concatenate([part.levels for part in self._parts]),
            ]
            self._writer.write_table(arrow.table(columns, schema=schema))
        self._parts, self._rows = [], 0

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _libraries(file: str) -> tuple[Any, Any]:
    return optional_import("pyarrow", file, "interchange"), optional_import("pyarrow.parquet", file, "interchange")


def _parts(batch: Any, file: str) -> Iterator[ImagePredictions]:
    if any(batch.column(name).null_count for name in batch.schema.names):
        raise UserError(f"{file}: a cell is empty; fill or drop the row")
    ids = batch.column("image_id").to_pylist()
    if not {type(image_id) for image_id in ids} <= {int, str}:
        raise UserError(f"{file}: column image_id must hold integers or texts, not {batch.column('image_id').type}")
    try:
        x, y, width, height, score = (np.asarray(batch.column(name), np.float64) for name in _NUMBERS)
    except ValueError:
        raise UserError(f"{file}: columns {', '.join(_NUMBERS)} must hold numbers") from None
    categories = _integers(batch, "category_id", 1, file)
    levels = _integers(batch, "level", 0, file)
    if levels.min(initial=0) < 0:
        raise UserError(f"{file}: column level holds {levels.min()}; levels count from 1, and 0 is not known")
    xywh = np.stack([x, y, width, height], axis=1)
    for image_id, rows in by_image(ids):
        yield ImagePredictions(image_id, xywh[rows], score[rows], categories[rows], levels[rows])


def _check_type(types: Any, name: str, kind: Any, file: str) -> None:
    if types.is_dictionary(kind):
        kind = kind.value_type
    number, text = types.is_integer(kind), types.is_string(kind) or types.is_large_string(kind)
    if name == "image_id" and not (number or text):
        raise UserError(f"{file}: column image_id must hold integers or texts, not {kind}")
    if name in ("category_id", "level") and not number:
        raise UserError(f"{file}: column {name} must hold integers, not {kind}")
    if name in _NUMBERS and not (number or types.is_floating(kind)):
        raise UserError(f"{file}: columns {', '.join(_NUMBERS)} must hold numbers, not {kind}")


def _integers(batch: Any, name: str, absent: int, file: str) -> np.ndarray:
    """int64 `[n]` of a column; all `absent` if the file does not have it."""
    if name not in batch.schema.names:
        return np.full(batch.num_rows, absent, np.int64)
    values = np.asarray(batch.column(name))
    if values.dtype.kind == "u" and values.size and values.max() > np.iinfo(np.int64).max:
        raise UserError(f"{file}: column {name} holds an integer beyond 64 bits")
    if values.dtype.kind not in "iu":
        raise UserError(f"{file}: column {name} must hold integers, not {batch.column(name).type}")
    return values.astype(np.int64)
