"""One shard of a batch job: from encoded images to a parquet table of boxes and a list of bad images. Without Beam.

The table has the format of `zip_keras.predictions.formats.parquet`, which `zip-keras evaluate` reads, plus the column
`file`. An image without boxes has no row, so the metadata state the number of images.
"""

import io
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zip_keras.data.image_headers import check_pixels, stated_size
from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, to_xywh
from zip_keras.utils.optional import optional_import

_NUMBERS = ("x", "y", "width", "height", "score")
COUNTS_KEY = b"zip_keras"  # key in the metadata of a table
Answer = Callable[[bytes], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Shard:
    """The inputs of one shard.

    Attributes:
        number: index from 0.
        total: number of shards of the job.
        files: image files, or one TFRecord file.
        records: whether it is a TFRecord file of `tf.train.Example`s with the feature `image/encoded`.
    """

    number: int
    total: int
    files: tuple[str, ...]
    records: bool

    @property
    def boxes_file(self) -> str:
        return f"boxes-{self.number:05}-of-{self.total:05}.parquet"

    @property
    def bad_file(self) -> str:
        return f"bad-{self.number:05}-of-{self.total:05}.jsonl"


@dataclass(frozen=True)
class Item:
    """An image of a shard.

    Attributes:
        file: its file, or `FILE:OFFSET` for a record.
        image_id: see `image_id_of`.
        content: its bytes, or the error if it cannot be read.
    """

    file: str
    image_id: ImageId
    content: bytes | UserError


@dataclass(frozen=True)
class ShardResult:
    """The contents of a shard's files.

    Attributes:
        boxes: a parquet file.
        bad: a JSON line for each image without a result: `file`, `image_id`, `reason`.
    """

    boxes: bytes
    bad: bytes


def make_shards(files: Iterable[str], records: bool, images_per_shard: int) -> list[Shard]:
    """Split the sorted files into shards of `images_per_shard` images, or one shard per TFRecord file."""
    names = sorted(files)
    size = 1 if records else images_per_shard
    parts = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    return [Shard(number, len(parts), part, records) for number, part in enumerate(parts)]


def predict_shard(answer: Answer, items: Iterable[Item], integer_ids: bool) -> ShardResult:
    """Compute a shard.

    Args:
        answer: returns the outputs of signature `encoded` for one image, without the batch axis.
        items: images of the shard.
        integer_ids: whether the column `image_id` has integers, else text.

    Raises:
        UserError: `integer_ids` is set and an id is no integer.
    """
    table, bad = _Table(integer_ids), io.StringIO()
    for item in items:
        reason = _predict(answer, item, table)
        if reason is not None:
            table.bad += 1
            json.dump({"file": item.file, "image_id": item.image_id, "reason": reason}, bad)
            bad.write("\n")
    return ShardResult(table.to_parquet(), bad.getvalue().encode())


def _predict(answer: Answer, item: Item, table: "_Table") -> str | None:
    """Add the boxes of an image to the table, or return the reason if the image is bad."""
    try:
        if isinstance(item.content, UserError):
            raise item.content
        if stated_size(item.content) is None:
            return "does not begin as a JPEG, PNG, GIF, BMP or WebP image"
        check_pixels(item.content, item.file)
    except UserError as error:
        return str(error).removeprefix(f"{item.file}: ")
    found = answer(item.content)
    if not found["decoded"]:
        return "the image data are damaged or end early"
    table.add(item, found)
    return None


class _Table:
    """Collects rows of boxes image by image."""

    def __init__(self, integer_ids: bool):
        self.integer_ids = integer_ids
        self.images = self.bad = 0
        self._ids: list[ImageId] = []
        self._files: list[str] = []
        self._numbers: list[np.ndarray] = []  # [n, 7]: _NUMBERS, category, level

    def add(self, item: Item, found: Mapping[str, np.ndarray]) -> None:
        if self.integer_ids and not isinstance(item.image_id, int):
            raise UserError(f"{item.file}: the image id {item.image_id!r} is no integer as the others; add --ids text")
        valid = np.asarray(found["valid"], bool)
        count = int(valid.sum())
        image_id = item.image_id if self.integer_ids else str(item.image_id)
        self.images += 1
        self._ids += [image_id] * count
        self._files += [item.file] * count
        categories = np.asarray(found["classes"])[valid] + 1 if "classes" in found else np.ones(count)
        columns = [np.asarray(found["scores"])[valid], categories, np.asarray(found["levels"])[valid]]
        boxes = to_xywh(np.asarray(found["boxes"])[valid])
        self._numbers.append(np.concatenate([boxes, np.stack(columns, axis=1).astype(np.float64)], axis=1))

    def to_parquet(self) -> bytes:
        arrow: Any = optional_import("pyarrow", "batch", "beam")
        parquet: Any = optional_import("pyarrow.parquet", "batch", "beam")
        numbers = np.concatenate([np.zeros((0, 7)), *self._numbers])
        kind = arrow.int64() if self.integer_ids else arrow.string()
        columns = {
            "file": arrow.array(self._files, arrow.string()),
            "image_id": arrow.array(self._ids, kind),
            "category_id": arrow.array(numbers[:, 5].astype(np.int64)),
            **{
                name: arrow.array(numbers[:, place])
                for place, name in enumerate(("x", "y", "width", "height", "score"))
            },
            "level": arrow.array(numbers[:, 6].astype(np.int64)),
        }
        counts = {"images": self.images, "bad": self.bad}
        table = arrow.table(columns).replace_schema_metadata({COUNTS_KEY: json.dumps(counts)})
        buffer = io.BytesIO()
        parquet.write_table(table, buffer)
        return buffer.getvalue()


_models: dict[tuple[str, int | None, float | None], Answer] = {}
_lock = threading.Lock()


def answer_of(model: str, max_boxes: int | None, score_threshold: float | None) -> Answer:
    """The prediction function of an export's version folder, loaded once per process.

    Args:
        model: the folder; any path that TensorFlow can read.
        max_boxes: maximum number of boxes per image; None: the export's own limit.
        score_threshold: boxes with lower scores are dropped; None: no threshold.
    """
    key = (model, max_boxes, score_threshold)
    with _lock:
        if key not in _models:
            _models[key] = _load(*key)
        return _models[key]


def _load(model: str, max_boxes: int | None, score_threshold: float | None) -> Answer:
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    limited = max_boxes is not None or score_threshold is not None
    signature = loaded.signatures["encoded_with_options" if limited else "encoded"]
    limits = {}
    if limited:
        limits["max_boxes"] = tf.constant([tf.int32.max if max_boxes is None else max_boxes], tf.int32)
        limits["score_threshold"] = tf.constant([-1.0 if score_threshold is None else score_threshold], tf.float32)

    def answer(content: bytes) -> Mapping[str, np.ndarray]:
        assert loaded is not None  # a signature does not keep its model's variables alive
        outputs = signature(image_bytes=tf.constant([content]), **limits)
        return {name: values.numpy()[0] for name, values in outputs.items()}

    return answer
