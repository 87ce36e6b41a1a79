import numpy as np
import pytest

from zip_keras.data.encoded import check_size, describe, jpeg_reduction, read_encoded
from zip_keras.data.tfrecord.container import write_record
from zip_keras.errors import UserError


@pytest.fixture
def shard(tmp_path):
    """Two examples written by TensorFlow, with neighbours before and after the image; their positions."""
    import tensorflow as tf

    def feature(values):
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def example(**features):
        features = {name.replace("__", "/"): feature(values) for name, values in features.items()}
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    with_image = example(
        image__encoded=[b"the image" * 100],
        image__height=[300, 2**40],
        image__filename=[b"a.jpg"],
        image__object__bbox__xmin=[0.5, 0.25],
        image__encoded_not=[b"another"],
    )
    without = example(image__height=[300])
    path = tmp_path / "shard"
    with open(path, "wb") as file:
        first, second = (write_record(file, payload) for payload in (with_image, without))
    return str(path), (first, len(with_image)), (second, len(without))


def test_a_whole_file(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(b"bytes")
    assert read_encoded(str(path), 0, -1) == b"bytes"


def test_the_image_of_an_example_in_a_shard(shard):
    path, (offset, length), _ = shard
    assert read_encoded(path, offset, length) == b"the image" * 100


def test_an_example_without_an_image(shard):
    path, _, (offset, length) = shard
    with pytest.raises(UserError, match=rf"shard: no image in the example at byte {offset} .*'image/encoded'"):
        read_encoded(path, offset, length)


def test_a_shard_cut_short(shard):
    path, _, (offset, length) = shard
    with pytest.raises(UserError, match=r"shard: (cut short|.*checksum differs)"):
        read_encoded(path, offset, length + 1)


@pytest.mark.parametrize("shift", [-3, 1, 2, 5, 40])
def test_an_offset_beside_the_example_never_crashes_otherwise(shard, shift):
    path, (offset, length), _ = shard
    with pytest.raises(UserError, match="checksum differs"):
        read_encoded(path, offset + shift, length)


def test_a_missing_file():
    with pytest.raises(UserError, match=r"nowhere/a\.jpg: cannot be read \(No such file"):
        read_encoded("nowhere/a.jpg", 0, -1)


def test_messages_name_the_place_in_a_shard():
    assert describe("a.jpg", 0, -1) == "a.jpg"
    assert describe("shard", 17, 300) == "shard (example at byte 17)"


@pytest.mark.parametrize(
    ("size", "reduction"),
    [((400, 600), 1), ((200, 300), 2), ((201, 300), 1), ((199, 299), 2), ((100, 150), 4), ((10, 15), 8), ((900, 9), 1)],
)
def test_a_jpeg_is_reduced_as_far_as_its_planned_size_allows(size, reduction):
    assert jpeg_reduction((400, 600), (0, 0, 400, 600), size) == reduction


def test_a_part_of_a_jpeg_is_not_reduced():
    assert jpeg_reduction((400, 600), (0, 0, 400, 599), (10, 15)) == 1


def test_a_reduced_image_rounds_its_size_up():
    check_size("a.jpg", (101, 76, 3), np.array([201, 151]), ratio=2)
    with pytest.raises(UserError, match=r"a\.jpg: is 152 x 200 pixels, annotated as 151 x 201 \(width x height\)"):
        check_size("a.jpg", (100, 76, 3), (201, 151), ratio=2)
