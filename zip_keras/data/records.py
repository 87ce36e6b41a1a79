"""The record type that all readers produce."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from zip_keras.errors import UserError


def image_id_of(file: str) -> int | str:
    """The id of an image in proposal files: an integer if the file stem is numeric, otherwise the stem.

    `image_id_of("000123.jpg") == 123`, `image_id_of("BloodImage_00007.jpg") == "BloodImage_00007"`. A stem of more
    than 18 digits stays a string, because it may not fit into 64 bits.
    """
    stem = PurePath(file).stem
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) <= 18 else stem


@dataclass(frozen=True)
class ImageRecord:
    """One annotated image.

    Attributes:
        image_id: see `image_id_of`; for COCO, the id in the JSON file.
        file: the image file, or the TFRecord shard that holds it.
        offset: first byte to read: 0 for an image file, the position of the serialized `tf.Example` in a shard.
        length: number of bytes to read; -1 for the whole file, which is then an encoded image, not a `tf.Example`.
        height, width: size in pixels of the decoded image, without EXIF rotation.
        boxes: float32 `[M, 4]`, `[y1, x1, y2, x2]` in pixels, continuous coordinates.
        classes: int32 `[M]`, index into `Dataset.class_names`.
        difficult: bool `[M]`, neither positive nor negative in training, ignored by VOC metrics.
        crowd: bool `[M]`, a region of many objects (COCO `iscrowd`), ignored in the same way.
        area: float32 `[M]`, area in square pixels: the annotation's if it gives one (COCO), otherwise the box area.
    """

    image_id: int | str
    file: str
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    offset: int = 0
    length: int = -1

    @property
    def in_shard(self) -> bool:
        """Whether the bytes are a `tf.Example` inside a TFRecord shard."""
        return self.length >= 0


@dataclass(frozen=True)
class Dataset:
    """Records and the class names that their `classes` index.

    Attributes:
        spec: the spec that the user gave, for messages and run logs.
        class_names: in index order.
        records: in the order of the split file (VOC), the JSON file (COCO) or the shards.
        skipped: number of defects of each kind that were skipped or repaired under an explicit policy.
    """

    spec: str
    class_names: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def without_classes(self, names: Sequence[str]) -> "Dataset":
        """The dataset without the objects of these classes; images and class names are kept.

        Raises:
            UserError: a name is not a class of the dataset.
        """
        for name in names:
            if name not in self.class_names:
                raise UserError(
                    f"{self.spec}: {name!r} is no class of it; its classes are {', '.join(self.class_names)}"
                )
        gone = [self.class_names.index(name) for name in names]
        columns = ("boxes", "classes", "difficult", "crowd", "area")
        records = []
        for record in self.records:
            kept = ~np.isin(record.classes, gone)
            records.append(dataclasses.replace(record, **{key: getattr(record, key)[kept] for key in columns}))
        return dataclasses.replace(self, records=tuple(records))

    def digest(self) -> str:
        """A hash of the images, their order, objects and classes; it does not depend on file paths."""
        content = hashlib.sha256(json.dumps(self.class_names).encode())
        for r in self.records:
            content.update(json.dumps([r.image_id, r.height, r.width]).encode())
            for array in (r.boxes, r.classes, r.difficult, r.crowd):
                content.update(array.tobytes())
        return content.hexdigest()[:16]
