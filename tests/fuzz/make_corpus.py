"""Writes the seeds of the fuzzers: one or two small good inputs a reader. `python tests/fuzz/make_corpus.py`"""

import io
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("ZIP_KERAS_LAZY", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from PIL import Image

from zip_keras.data.records import ImageRecord
from zip_keras.data.tfrecord.container import write_record
from zip_keras.data.tfrecord.examples import to_example
from zip_keras.data.tfrecord.shards import INDEX_SUFFIX, write_index
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions

CORPUS = Path(__file__).parent / "corpus"
COCO = b"""{"images": [{"id": 7, "file_name": "a.jpg", "width": 60, "height": 40}],
"annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 29, 18.5], "area": 500, "iscrowd": 0}],
"categories": [{"id": 1, "name": "dog"}]}"""
XML = b"""<annotation><filename>a.jpg</filename><size><width>60</width><height>40</height></size><object>
<name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>"""
TEXTS = {
    "coco": [COCO],
    "json": [COCO, b'["\\ud83d\\ude00", 1e9, -3, null, true, "\\\\"]'],
    "csv": [
        b"filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,60,40,dog,1,2,30,20\n",
        b"ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n0001,/m/01,0.2,0.5,0.1,0.9,0\n",
    ],
    "label_map": [b'item {\n  id: 1\n  name: "dog"\n}\n'],
    "results": [b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5, "level": 2}]'],
    "xml": [XML],
    "yaml": [b"a: &a [1, 2.5, x]\nb: *a\nc: {<<: {d: 1}}\n"],
    "yolo": [b"0 0.5 0.5 0.2 0.4\ntrain: .\nnames: {0: dog, 1: cat}\n"],
}


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    seeds: dict[str, list[bytes]] = {name: list(contents) for name, contents in TEXTS.items()}
    found = Predictions()
    found.add(3, [[0.0, 0.0, 5.0, 5.0], [1.0, 1.0, 2.0, 3.0]], [0.5, 0.25], levels=[1, 2])
    for name, suffix in (("npz", ".npz"), ("mat", ".mat"), ("pickle", ".pkl"), ("parquet", ".parquet")):
        write_predictions(str(folder / f"p{suffix}"), found)
        seeds[name] = [(folder / f"p{suffix}").read_bytes()]
    seeds["image"] = []
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)).save(buffer, kind)
        seeds["image"].append(buffer.getvalue())
    flags, box = np.zeros(1, bool), np.array([[1, 2, 7, 8]], np.float32)
    record = ImageRecord(1, "a.png", 8, 9, box, np.zeros(1, np.int32), flags, flags, np.full(1, 36, np.float32), 12, 7)
    seeds["example"] = [to_example(record, seeds["image"][1], "png", ["dog"])]
    shard = folder / "shard.tfrecord"
    with open(shard, "wb") as file:
        write_record(file, b"content")
    write_index(str(shard), [record], ["dog"])
    seeds["index"] = [Path(str(shard) + INDEX_SUFFIX).read_bytes()]
    for name, contents in seeds.items():
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (CORPUS / name / f"seed-{number}").write_bytes(content)


if __name__ == "__main__":
    main()
