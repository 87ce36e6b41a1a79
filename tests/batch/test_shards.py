"""A shard of a batch job, without Beam."""

import io
import json

import numpy as np
import pytest

from zip_keras.batch.shards import COUNTS_KEY, Item, answer_of, make_shards, predict_shard
from zip_keras.errors import UserError
from zip_keras.predictions.formats import read_predictions

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pip install 'zip-keras[interchange]'")


@pytest.fixture(scope="module")
def answer(small_export):
    return answer_of(str(small_export / "1"), None, None)


@pytest.fixture(scope="module")
def photo(encoded_image):
    return encoded_image("JPEG", 97, 131)


def test_shards_are_the_files_in_order():
    shards = make_shards(["c.jpg", "a.jpg", "b.jpg"], False, 2)
    assert [shard.files for shard in shards] == [("a.jpg", "b.jpg"), ("c.jpg",)]
    assert [shard.boxes_file for shard in shards] == ["boxes-00000-of-00002.parquet", "boxes-00001-of-00002.parquet"]
    assert [shard.files for shard in make_shards(["r-1", "r-0"], True, 2)] == [("r-0",), ("r-1",)]


def test_boxes_and_bad_images(answer, photo, tmp_path):
    bomb = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (20_000).to_bytes(4, "big") * 2
    items = [
        Item("in/7.jpg", 7, photo),
        Item("in/8.jpg", 8, photo[:300]),
        Item("in/9.jpg", 9, b"text"),
        Item("in/10.png", 10, bomb),
        Item("in/11.jpg", 11, UserError("in/11.jpg: No such file")),
    ]
    result = predict_shard(answer, items, integer_ids=True)
    file = tmp_path / "boxes.parquet"
    file.write_bytes(result.boxes)
    table = parquet.read_table(file)
    assert json.loads(table.schema.metadata[COUNTS_KEY]) == {"images": 1, "bad": 4}
    assert set(table["file"].to_pylist()) == {"in/7.jpg"}
    found = answer(photo)
    valid = found["valid"]
    part = read_predictions(str(file))[7]  # what `evaluate` reads
    np.testing.assert_allclose(part.boxes, found["boxes"][valid], atol=1e-4)
    np.testing.assert_allclose(part.scores, found["scores"][valid])
    np.testing.assert_array_equal(part.levels, found["levels"][valid])
    assert set(part.categories) == {1}
    bad = [json.loads(line) for line in result.bad.splitlines()]
    assert [(one["image_id"], one["reason"]) for one in bad] == [
        (8, "the image data are damaged or end early"),
        (9, "does not begin as a JPEG, PNG, GIF, BMP or WebP image"),
        (10, "20000 x 20000 pixels are more than the limit of 64000000"),
        (11, "No such file"),
    ]


def test_classes_of_a_detector():
    outputs = {
        "boxes": np.float32([[1, 2, 3, 5], [0, 0, 0, 0]]),
        "scores": np.float32([0.5, 0]),
        "levels": np.int32([2, 0]),
        "classes": np.int32([4, 0]),
        "valid": np.array([True, False]),
        "decoded": np.True_,
    }
    result = predict_shard(lambda content: outputs, [Item("a.png", "a", b"\x89PNG" + bytes(30))], integer_ids=False)
    [row] = parquet.read_table(io.BytesIO(result.boxes)).to_pylist()
    assert row == {
        "file": "a.png", "image_id": "a", "category_id": 5, "x": 2, "y": 1, "width": 3, "height": 2, "score": 0.5,
        "level": 2,
    }  # fmt: skip


def test_an_id_of_the_other_kind(answer, photo):
    with pytest.raises(UserError, match=r"a\.jpg: the image id 'a' is no integer.*--ids text"):
        predict_shard(answer, [Item("a.jpg", "a", photo)], integer_ids=True)


def test_limits(small_export, answer, photo):
    everything = answer(photo)
    least = float(everything["scores"][5])
    kept = answer_of(str(small_export / "1"), None, least)(photo)
    assert kept["valid"].sum() == (everything["scores"][everything["valid"]] >= least).sum() < everything["valid"].sum()
