import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.sources import open_dataset
from zip_keras.data.tfrecord.shards import INDEX_SUFFIX, shard_paths
from zip_keras.data.tfrecord.writing import write_shards
from zip_keras.errors import UserError


@pytest.fixture
def records(devkit, tmp_path):
    """Three images in two shards; returns the data set and the folder."""
    devkit.add("000123", [("dog", 1, 1, 60, 40), ("cat", 11, 6, 20, 15)])
    devkit.add("odd name.x", [("dog", 3, 4, 50, 30)], size=(37, 53))
    devkit.add("empty", [])
    dataset = open_dataset(devkit.train)
    folder = tmp_path / "records"
    write_shards(dataset, str(folder), DefectLog(), shards=2)
    return dataset, folder


def assert_same(found, expected, atol=0.0):
    assert found.class_names == expected.class_names
    assert [r.image_id for r in found.records] == [r.image_id for r in expected.records]
    for a, b in zip(found.records, expected.records, strict=True):
        assert (a.height, a.width) == (b.height, b.width)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=atol)
        np.testing.assert_allclose(a.area, b.area, rtol=1e-5)
        for name in ("classes", "difficult", "crowd"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_records_give_back_what_was_written(records):
    dataset, folder = records
    found = open_dataset(f"records:{folder}")
    assert_same(found, dataset)
    assert [os.path.basename(p) for p in shard_paths(str(folder))] == [
        "shard-00000-of-00002.tfrecord",
        "shard-00001-of-00002.tfrecord",
    ]
    assert open_dataset(str(folder)).class_names == dataset.class_names  # the plain form


def test_an_index_that_is_lost_is_made_again_by_a_scan(records):
    dataset, folder = records
    before = [(r.offset, r.length) for r in open_dataset(f"records:{folder}").records]
    for shard in shard_paths(str(folder)):
        os.unlink(shard + INDEX_SUFFIX)
    found = open_dataset(f"records:{folder}")
    assert_same(found, dataset, atol=1e-4)
    assert [(r.offset, r.length) for r in found.records] == before
    assert all(os.path.exists(shard + INDEX_SUFFIX) for shard in shard_paths(str(folder)))


def test_an_index_that_is_damaged_is_not_trusted(records):
    dataset, folder = records
    shard = shard_paths(str(folder))[0]
    for content in (b"", b"PK\x03\x04 no archive", os.urandom(500)):
        with open(shard + INDEX_SUFFIX, "wb") as file:
            file.write(content)
        assert_same(open_dataset(f"records:{folder}"), dataset, atol=1e-4)


def test_the_image_bytes_lie_where_the_record_says(records):
    dataset, folder = records
    for record, original in zip(open_dataset(f"records:{folder}").records, dataset.records, strict=True):
        with open(record.file, "rb") as file:
            file.seek(record.offset)
            example = tf.train.Example.FromString(file.read(record.length))
        (encoded,) = example.features.feature["image/encoded"].bytes_list.value
        with open(original.file, "rb") as file:
            assert encoded == file.read()  # a sound JPEG is stored as it is


def test_tf_models_decodes_our_records(records):
    from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder

    dataset, folder = records
    decoder = TfExampleDecoder()
    rows = [decoder.decode(row) for shard in shard_paths(str(folder)) for row in tf.data.TFRecordDataset(shard)]
    assert [row["source_id"].numpy().decode() for row in rows] == ["123", "odd name.x", "empty"]
    for row, record in zip(rows, dataset.records, strict=True):
        assert tuple(row["image"].shape) == (record.height, record.width, 3)
        scale = np.array([record.height, record.width] * 2, np.float32)
        pixels = row["groundtruth_boxes"].numpy().reshape(-1, 4) * scale
        np.testing.assert_allclose(pixels, record.boxes, atol=1e-4)
        np.testing.assert_array_equal(row["groundtruth_classes"], record.classes + 1)
        np.testing.assert_allclose(row["groundtruth_area"], record.area)
        assert not row["groundtruth_is_crowd"].numpy().any()


def test_we_read_records_that_tf_models_wrote(tmp_path):
    from official.vision.data.tfrecord_lib import convert_to_feature, image_info_to_feature_dict

    encoded = tf.io.encode_png(np.zeros((40, 60, 3), np.uint8)).numpy()
    features = image_info_to_feature_dict(40, 60, "000007.png", 7, encoded, "png")
    features |= {
        f"image/object/bbox/{key}": convert_to_feature([value], "float_list")
        for key, value in {"xmin": 0.25, "xmax": 0.5, "ymin": 0.5, "ymax": 1.0}.items()
    }
    features["image/object/class/label"] = convert_to_feature([18])
    features["image/object/is_crowd"] = convert_to_feature([1])
    features["image/object/area"] = convert_to_feature([55.5], "float_list")
    example = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter(str(tmp_path / "train-00000-of-00001.tfrecord")) as writer:
        writer.write(example.SerializeToString())
    (tmp_path / "label_map.pbtxt").write_text(
        "item { id: 17 name: 'cat' }\nitem {\n name: \"dog\"\n id: 18 # best\n}\n"
    )
    found = open_dataset(f"records:{tmp_path}:train")
    (record,) = found.records
    assert found.class_names == ("cat", "dog")
    assert (record.image_id, record.boxes.tolist(), record.classes.tolist()) == (7, [[20, 15, 40, 30]], [1])
    assert (record.crowd.tolist(), record.area.tolist()) == ([True], [55.5])
    (tmp_path / "label_map.pbtxt").write_text("item { id: 18 name: 'wolf' }")  # the index is of the old names
    assert open_dataset(f"records:{tmp_path}:train").class_names == ("wolf",)


def test_given_classes_renumber_and_others_are_defects(records):
    _, folder = records
    found = open_dataset(f"records:{folder}", classes=["dog", "cat"])
    assert found.records[0].classes.tolist() == [0, 1]
    with pytest.raises(UserError, match='unknown class "cat"'):
        open_dataset(f"records:{folder}", classes=["dog"])
    found = open_dataset(f"records:{folder}", classes=["dog"], on_defect="skip")
    assert (found.skipped, [len(r.boxes) for r in found.records]) == ({"unknown_class": 1}, [1, 1, 0])


def test_missing_cut_and_damaged_shards_are_named(records, tmp_path):
    _, folder = records
    shard = shard_paths(str(folder))[1]
    with open(shard, "rb") as file:
        content = file.read()

    with open(shard, "wb") as file:
        file.write(content[:-5])
    with pytest.raises(UserError, match=r"shard-00001-of-00002\.tfrecord: cut short"):
        open_dataset(f"records:{folder}")

    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    with open(shard, "wb") as file:
        file.write(damaged)
    os.unlink(shard + INDEX_SUFFIX)
    with pytest.raises(UserError, match=r"shard-00001-of-00002\.tfrecord: not a TFRecord file, or damaged"):
        open_dataset(f"records:{folder}")

    os.unlink(shard)
    with pytest.raises(UserError, match=r"shard-00001-of-00002\.tfrecord: this shard is missing"):
        open_dataset(f"records:{folder}")
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="no TFRecord shards here"):
        open_dataset(f"records:{folder}")


def test_records_without_object_features_are_explained(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as writer:
        writer.write(b"no example at all")
    with pytest.raises(UserError, match=r"x\.tfrecord, example at byte 12: not a serialized tf\.Example"):
        open_dataset(f"records:{tmp_path}")
