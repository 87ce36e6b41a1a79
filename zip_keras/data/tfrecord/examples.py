"""Images as `tf.Example` with the feature keys of the TF Object Detection API: writing and reading."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation
from zip_keras.data.formats.files import IMAGE_SUFFIXES, read_lines
from zip_keras.data.records import ImageRecord, image_id_of
from zip_keras.data.tfrecord.container import decode_example, encode_example
from zip_keras.errors import UserError


def to_example(record: ImageRecord, encoded: bytes, image_format: str, class_names: Sequence[str]) -> bytes:
    """Serialize one image as a `tf.Example` that `TfExampleDecoder` of tf-models-official reads.

    Boxes are fractions of the image size and labels start at 1, as in the TF Object Detection API.

    Args:
        record: record with boxes in pixels of the encoded image.
        encoded: bytes of the JPEG or PNG file.
        image_format: "jpeg" or "png".
        class_names: in index order.
    """
    y1, x1, y2, x2 = (record.boxes / np.array([record.height, record.width] * 2, np.float32)).T
    return encode_example(
        {
            "image/encoded": [encoded],
            "image/format": [image_format.encode()],
            "image/filename": [os.path.basename(record.file).encode("utf-8", "surrogateescape")],
            "image/source_id": [str(record.image_id).encode()],
            "image/height": [record.height],
            "image/width": [record.width],
            "image/object/bbox/ymin": y1.astype(np.float32),
            "image/object/bbox/xmin": x1.astype(np.float32),
            "image/object/bbox/ymax": y2.astype(np.float32),
            "image/object/bbox/xmax": x2.astype(np.float32),
            "image/object/class/label": record.classes + 1,
            "image/object/class/text": [class_names[i].encode() for i in record.classes],
            "image/object/area": record.area,
            "image/object/difficult": record.difficult.astype(np.int64),
            "image/object/is_crowd": record.crowd.astype(np.int64),
        }
    )


def annotation_of(payload: bytes, shard: str, offset: int, label_map: Mapping[int, str]) -> ImageAnnotation | None:
    """The annotation in a `tf.Example` of the TF Object Detection API; None if it has neither size nor image.

    Raises:
        UserError: the example lacks the required features, or their lengths differ.
    """
    where = f"{shard}, example at byte {offset}"
    try:
        return _annotation(decode_example(payload, where), where, shard, offset, label_map)
    except UserError:
        raise
    except (ValueError, OverflowError) as error:  # a NaN for a label, an infinite height
        raise UserError(f"{where}: no object detection record ({error})") from None


def _annotation(
    features: Mapping[str, Any], where: str, shard: str, offset: int, label_map: Mapping[int, str]
) -> ImageAnnotation | None:
    height, width = (_integer(features.get(f"image/{side}")) for side in ("height", "width"))
    if not (0 < height < 1_000_000 and 0 < width < 1_000_000):
        size = _size_inside(features, where)
        if size is None:
            return None
        height, width = size
    columns = [_numbers(features.get(f"image/object/bbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
    total = len(columns[0])
    texts, labels = _texts(features.get("image/object/class/text")), _numbers(features.get("image/object/class/label"))
    if any(len(column) != total for column in columns) or max(len(texts), len(labels)) != total:
        raise UserError(f"{where}: its boxes, labels and names differ in number; this is no object detection record")
    difficult, crowd, area = (
        _numbers(features.get(f"image/object/{key}")) for key in ("difficult", "is_crowd", "area")
    )
    objects = []
    for i in range(total):
        name = texts[i] if i < len(texts) else label_map.get(int(labels[i]), f"label {int(labels[i])}")
        objects.append(
            ObjectAnnotation(
                name=name,
                corners=tuple(float(c[i]) * side for c, side in zip(columns, (width, height) * 2, strict=True)),  # type: ignore[arg-type]
                difficult=bool(difficult[i]) if i < len(difficult) else False,
                crowd=bool(crowd[i]) if i < len(crowd) else False,
                area=float(area[i]) if i < len(area) and area[i] > 0 else None,
            )
        )
    image_id = example_image_id(features, shard, offset)
    return ImageAnnotation(image_id, where, shard, height, width, objects, str(image_id))


def example_image_id(features: Mapping[str, Any], shard: str, offset: int) -> int | str:
    """The image id: `image/source_id`, otherwise the file name, otherwise the position in the shard."""
    for key in ("image/source_id", "image/filename"):
        text = (_texts(features.get(key)) or [""])[0]
        if text:
            suffix = PurePath(text).suffix.lower()
            return image_id_of(text) if suffix in IMAGE_SUFFIXES or not suffix else text
    return f"{os.path.basename(shard)}@{offset}"


def _size_inside(features: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    from zip_keras.data.checks.images import inspect

    encoded = features.get("image/encoded")
    if not isinstance(encoded, list) or not encoded or not encoded[0]:
        return None
    info = inspect(encoded[0], where)
    return info.height, info.width


def _numbers(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else np.zeros(0, np.float32)


def _integer(values: Any) -> int:
    numbers = _numbers(values)
    return int(numbers[0]) if len(numbers) else -1


def _texts(values: Any) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values] if isinstance(values, list) else []


def read_label_map(path: str) -> dict[int, str]:
    """`{id: name}` of a `label_map.pbtxt`, sorted by id; empty if the file does not exist."""
    if not os.path.isfile(path):
        return {}
    text = "\n".join(line.split("#")[0] for line in read_lines(path, 16 * 1024 * 1024))
    names: dict[int, str] = {}
    for item in re.findall(r"item\s*\{([^{}]*)\}", text):
        number = re.search(r"\bid\s*:\s*(\d{1,18})\b", item)
        name = re.search(r"""\bname\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""", item)
        if not number or not name:
            raise UserError(f"{path}: every item needs an id and a name")
        names[int(number[1])] = re.sub(r"\\(.)", r"\1", name[1] if name[1] is not None else name[2])
    return dict(sorted(names.items()))


def write_label_map(path: str, class_names: Sequence[str]) -> None:
    """Write a label map for TF Object Detection tools; ids start at 1."""

    def quoted(name: str) -> str:
        return name.replace("\\", "\\\\").replace('"', '\\"')

    items = (f'item {{\n  id: {i}\n  name: "{quoted(name)}"\n}}\n' for i, name in enumerate(class_names, start=1))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(items))
