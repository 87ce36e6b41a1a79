"""Every reader of the project as a function of bytes, for the property tests and for the fuzzers.

A reader returns or raises `UserError`, whatever the bytes are. Anything else is a defect: a traceback, a hang, memory.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.checks.images import verify
from zip_keras.data.formats.coco import read_coco
from zip_keras.data.formats.csv import read_csv
from zip_keras.data.formats.xml import parse_xml
from zip_keras.data.formats.yolo import read_yolo
from zip_keras.data.image_headers import jpeg_layout, stated_size
from zip_keras.data.tfrecord.container import write_record
from zip_keras.data.tfrecord.examples import annotation_of, read_label_map
from zip_keras.data.tfrecord.shards import INDEX_SUFFIX, read_index
from zip_keras.predictions.formats import ReadOptions, read_predictions
from zip_keras.utils.reading import Budget, parse_json, parse_yaml

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz"))
SMALL = Budget(bytes=1 << 20, nodes=10_000, depth=16)
SIZE = (100, 100)


def written(name: str, content: bytes) -> str:
    file = FOLDER / name
    file.write_bytes(content)
    return str(file)


def skipping() -> DefectLog:
    return DefectLog("skip", "skip")


def image(content: bytes) -> None:
    stated_size(content)
    jpeg_layout(content)
    verify(content, "x", max_pixels=1_000_000)


def yolo(content: bytes) -> None:
    """The first line is a label file, the rest is data.yaml."""
    labels, _, config = content.partition(b"\n")
    written("a.jpg", b"")
    written("a.txt", labels)
    written("data.yaml", config)
    for split in ("train", "all"):
        read_yolo(str(FOLDER), split, skipping(), lambda file: SIZE)


def index(content: bytes) -> None:
    shard = FOLDER / "shard.tfrecord"
    with open(shard, "wb") as file:
        write_record(file, b"content")
    written("shard.tfrecord" + INDEX_SUFFIX, content)
    read_index(str(shard))


def predictions(suffix: str) -> Callable[[bytes], object]:
    return lambda content: read_predictions(written(f"p{suffix}", content), ReadOptions(allow_pickle=True))


READERS: dict[str, Callable[[bytes], object]] = {
    "coco": lambda content: read_coco(written("c.json", content), skipping()),
    "csv": lambda content: read_csv(written("c.csv", content), skipping(), lambda file: SIZE),
    "example": lambda content: annotation_of(content, "shard", 12, {}),
    "image": image,
    "index": index,
    "json": lambda content: parse_json(content, "x", SMALL),
    "label_map": lambda content: read_label_map(written("map.pbtxt", content)),
    "mat": predictions(".mat"),
    "npz": predictions(".npz"),
    "parquet": predictions(".parquet"),
    "pickle": predictions(".pkl"),
    "results": predictions(".json"),
    "xml": lambda content: parse_xml(content, "x"),
    "yaml": lambda content: parse_yaml(content.decode("utf-8", "replace"), "x", SMALL),
    "yolo": yolo,
}
