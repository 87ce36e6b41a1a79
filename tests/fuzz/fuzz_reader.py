"""Coverage-guided fuzzing of one reader by atheris. Not run by pytest.

    pip install atheris
    python tests/fuzz/fuzz_reader.py READER tests/fuzz/corpus/READER -max_total_time=300

A reader takes any bytes and returns or raises `UserError`. Anything else is a finding: a traceback, a hang, memory.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("ZIP_KERAS_LAZY", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import atheris

with atheris.instrument_imports(include=["zip_keras"]):
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
    from zip_keras.errors import UserError
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


def main() -> None:
    read = READERS[sys.argv.pop(1)]

    def once(content: bytes) -> None:
        try:
            read(content)
        except UserError:
            return

    # Ten seconds an input are a hang, 512 MB in one allocation a bomb.
    atheris.Setup([*sys.argv, "-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=512", "-max_len=4096"], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
