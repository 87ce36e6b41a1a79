"""TensorFlow Datasets. A split is converted once to TFRecord shards beside the files of TFDS and read from there."""

import dataclasses
import os
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.checks.images import inspect
from zip_keras.data.checks.validation import to_record
from zip_keras.data.records import ImageRecord, image_id_of
from zip_keras.data.tfrecord.container import write_record
from zip_keras.data.tfrecord.examples import to_example, write_label_map
from zip_keras.data.tfrecord.shards import LABEL_MAP_FILE, write_index
from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import


def cached_records(name: str, split: str) -> str:
    """The folder with the records of a TensorFlow Datasets split, which is downloaded and converted on first use.

    Args:
        name: dataset name, optionally with config and version, such as `voc/2007` or `coco/2017:1.1.0`.
        split: split such as `train` or `train[:10%]`.

    Raises:
        UserError: `tensorflow_datasets` is missing, the dataset is not available, or it has no boxes.
    """
    if not split:
        raise UserError(f"tfds:{name}: which split? Write tfds:{name}:train")
    tfds = optional_import("tensorflow_datasets", f"tfds:{name}", "tfds")
    try:
        builder = tfds.builder(name)
        folder = os.path.join(builder.data_dir, "zip_keras", "".join(c if c.isalnum() else "_" for c in split))
        if os.path.isdir(folder):
            return folder
        builder.download_and_prepare()
        rows = tfds.as_numpy(builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()}))
    except Exception as error:  # downloaders raise many types: no network, unknown name, a licence to accept
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        raise UserError(f"tfds:{name}:{split}: TensorFlow Datasets cannot provide it ({reason})") from None
    names = _class_names(builder.info.features, name)
    temporary = f"{folder}.{os.getpid()}.tmp"
    try:
        os.makedirs(temporary)
        _write(rows, names, temporary, name)
        os.replace(temporary, folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _class_names(features: Mapping[str, Any], name: str) -> list[str]:
    try:
        return list(features["objects"]["label"].names)
    except (KeyError, AttributeError, TypeError):
        raise UserError(f"tfds:{name}: has no objects with boxes and labels; choose a detection data set") from None


def _write(rows: Any, names: list[str], folder: str, name: str) -> None:
    shard = os.path.join(folder, "shard-00000-of-00001.tfrecord")
    index = {class_name: i for i, class_name in enumerate(names)}
    log = DefectLog(on_box="clip", on_image="skip")  # kept in the index; `open_dataset` applies its own policy
    written: list[ImageRecord] = []
    with open(shard, "wb") as file:
        for position, row in enumerate(rows):
            encoded = bytes(row["image"])
            info = inspect(encoded, f"tfds:{name}, image {position}")
            annotation = _annotation(row, names, f"tfds:{name}, image {position}", info.height, info.width, position)
            record = to_record(annotation, index, "continuous", log)
            assert record is not None, "the image is there"
            payload = to_example(record, encoded, "png" if info.format == "PNG" else "jpeg", names)
            offset = write_record(file, payload)
            written.append(dataclasses.replace(record, file=shard, offset=offset, length=len(payload)))
    write_index(shard, written, names, defects=log.defects)
    write_label_map(os.path.join(folder, LABEL_MAP_FILE), names)


def _annotation(
    row: Mapping[str, Any], names: list[str], source: str, height: int, width: int, position: int
) -> ImageAnnotation:
    """The annotation of a row, whose boxes are `ymin, xmin, ymax, xmax` as fractions of the image."""
    things = row["objects"]
    boxes = np.asarray(things["bbox"], np.float64).reshape(-1, 4)
    none = np.zeros(len(boxes))
    area = things.get("area", none)
    flags = zip(things.get("is_difficult", none), things.get("is_crowd", none), strict=True)
    objects = [
        ObjectAnnotation(
            name=names[int(label)],
            corners=(box[1] * width, box[0] * height, box[3] * width, box[2] * height),
            difficult=bool(difficult),
            crowd=bool(crowd),
            area=float(size) or None,
        )
        for box, label, (difficult, crowd), size in zip(boxes, things["label"], flags, area, strict=True)
    ]
    image_id: int | str = position
    if "image/filename" in row:
        image_id = image_id_of(row["image/filename"].decode())
    elif "image/id" in row:
        image_id = int(row["image/id"])
    return ImageAnnotation(image_id, source, source, height, width, objects)
