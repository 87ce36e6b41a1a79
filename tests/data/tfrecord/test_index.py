"""The index of a shard may come from anybody: what it says is checked, or the shard itself is read."""

import numpy as np
import pytest

from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.sources import open_dataset
from zip_keras.data.tfrecord.shards import INDEX_SUFFIX, read_index
from zip_keras.data.tfrecord.writing import write_shards


@pytest.fixture
def shard(devkit, tmp_path):
    for stem in "ab":
        devkit.add(stem, [("dog", 1, 2, 30, 20), ("cat", 5, 5, 9, 9)])
    folder = tmp_path / "records"
    write_shards(open_dataset(devkit.train), str(folder), DefectLog(), shards=1)
    return str(folder / "shard-00000-of-00001.tfrecord")


def changed(name, place, value):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name][place] = value

    return change


def replaced(**new):
    return lambda arrays: arrays.update({name: np.asarray(value) for name, value in new.items()})


CHANGES = {
    "a class out of range": changed("classes", 0, 2),
    "a class below 0": changed("classes", 0, -1),
    "a box of NaN": changed("boxes", (0, 0), np.nan),
    "a box outside": changed("boxes", (0, 2), 4000),
    "a box without size": changed("boxes", (0, 2), 2),
    "an infinite area": changed("area", 0, np.inf),
    "a place behind the end": changed("offsets", 1, 1 << 40),
    "a place before the start": changed("offsets", 1, -5),
    "a length beyond the file": changed("lengths", 1, 1 << 62),
    "more objects than boxes": changed("counts", 0, 3),
    "objects below 0": changed("counts", 0, -1),
    "an empty image": changed("sizes", (0, 0), 0),
    "too few ids": replaced(image_ids='["a"]'),
    "an id of another kind": replaced(image_ids='["a", [1]]'),
    "nested ids": replaced(image_ids="[" * 5000),
    "names that are no texts": replaced(names="[1, 2]"),
    "equal names": replaced(names='["dog", "dog"]'),
    "no json": replaced(names="dog"),
    "defects of another kind": replaced(defects="[3]"),
    "texts for classes": replaced(classes=["a"] * 4),
    "fractions for classes": replaced(classes=[0.0, 1.0, 0.0, 1.0]),
    "another shape": replaced(boxes=np.zeros((4, 3), np.float32)),
    "another shard": replaced(shard_bytes=3),
}


def test_the_index_that_was_written_is_read(shard):
    assert [len(record.boxes) for record in read_index(shard).records] == [2, 2]


@pytest.mark.parametrize("what", CHANGES)
def test_an_index_that_cannot_be_right_is_not_used(shard, what):
    before = open_dataset(f"records:{shard}")
    with np.load(shard + INDEX_SUFFIX) as stored:
        arrays = dict(stored)
    CHANGES[what](arrays)
    np.savez(shard + INDEX_SUFFIX, **arrays)
    assert read_index(shard) is None
    after = open_dataset(f"records:{shard}")  # the shard is scanned
    assert [record.boxes.tolist() for record in after.records] == [record.boxes.tolist() for record in before.records]
    assert after.class_names == before.class_names


def test_a_damaged_archive_is_not_used(shard):
    for content in (b"", b"PK\3\4", b"no archive"):
        with open(shard + INDEX_SUFFIX, "wb") as file:
            file.write(content)
        assert read_index(shard) is None
