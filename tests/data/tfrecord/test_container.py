import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from zip_keras.data.tfrecord.container import (
    decode_example,
    encode_example,
    masked_crc32c,
    read_payload,
    scan_records,
    write_record,
)
from zip_keras.errors import UserError


def test_checksum_of_the_standard():
    """RFC 3720, appendix B.4, turned and shifted as TFRecord files store it."""
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def payloads():
    rng = np.random.default_rng(0)
    return [rng.bytes(n) for n in (0, 1, 255, 256, 257, 5000)]


def test_tensorflow_reads_our_shards(tmp_path):
    path = tmp_path / "ours.tfrecord"
    with open(path, "wb") as file:
        offsets = [write_record(file, payload) for payload in payloads()]
    assert [bytes(p) for p in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()] == payloads()
    for offset, payload in zip(offsets, payloads(), strict=True):
        assert read_payload(str(path), offset, len(payload)) == payload


def test_we_read_tensorflows_shards(tmp_path):
    path = str(tmp_path / "theirs.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for payload in payloads():
            writer.write(payload)
    found = list(scan_records(path))
    assert [payload for _, payload in found] == payloads()
    with open(path, "rb") as file:
        content = file.read()
    assert all(content[offset : offset + len(payload)] == payload for offset, payload in found)


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "shard.tfrecord"
    with open(path, "wb") as file:
        for payload in payloads():
            write_record(file, payload)
    return path


def test_every_cut_is_found(shard):
    whole = shard.read_bytes()
    ends = {0}
    for payload in payloads():
        ends.add(max(ends) + 16 + len(payload))
    for length in (*range(0, 700, 7), len(whole) - 1):
        shard.write_bytes(whole[:length])
        if length in ends:
            list(scan_records(str(shard)))
        else:
            with pytest.raises(UserError, match=r"shard\.tfrecord: cut short in the record at byte"):
                list(scan_records(str(shard)))


@pytest.mark.parametrize("byte", [3, 9, 30, 400, 5700])
def test_every_flipped_bit_is_found(shard, byte):
    content = bytearray(shard.read_bytes())
    content[byte] ^= 4
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"shard\.tfrecord: not a TFRecord file, or damaged"):
        list(scan_records(str(shard)))


FEATURES = {
    "bytes": [b"\x00\xff", b"", "é".encode()],
    "floats": [1.5, -2.25, 3e38],
    "integers": [0, 1, -1, 300, 2**62, -(2**63)],
    "none": [],
}


def test_tensorflow_parses_our_examples():
    example = tf.train.Example.FromString(encode_example(FEATURES)).features.feature
    assert list(example["bytes"].bytes_list.value) == FEATURES["bytes"]
    assert list(example["floats"].float_list.value) == pytest.approx(FEATURES["floats"])
    assert list(example["integers"].int64_list.value) == FEATURES["integers"]
    assert len(example["none"].int64_list.value) == 0


def test_an_empty_list_of_texts_is_still_one_of_texts():
    """tf-models' label map decoder asks for the class names of images without objects too."""
    import tensorflow as tf

    features = {"texts": [], "numbers": np.zeros(0, np.float32), "integers": np.zeros(0, np.int64)}
    kinds = {"texts": tf.string, "numbers": tf.float32, "integers": tf.int64}
    wanted = {name: tf.io.VarLenFeature(kind) for name, kind in kinds.items()}
    parsed = tf.io.parse_single_example(encode_example(features), wanted)
    assert [int(tf.size(parsed[name].values)) for name in features] == [0, 0, 0]


def test_we_parse_tensorflows_examples():
    example = tf.train.Example()
    example.features.feature["bytes"].bytes_list.value.extend(FEATURES["bytes"])
    example.features.feature["floats"].float_list.value.extend(FEATURES["floats"])
    example.features.feature["integers"].int64_list.value.extend(FEATURES["integers"])
    example.features.feature["unset"].SetInParent()
    found = decode_example(example.SerializeToString())
    assert found["bytes"] == FEATURES["bytes"]
    assert found["floats"].tolist() == pytest.approx(FEATURES["floats"])
    assert found["integers"].tolist() == FEATURES["integers"]
    assert len(found["unset"]) == 0


def test_lists_that_are_not_packed_are_read_too():
    # Feature{int64_list{value: 5, value: 7}} and Feature{float_list{value: 1.0}}, one tag a value
    integers = bytes([10, 13, 10, 11, 10, 1, ord("i"), 18, 6, 26, 4, 8, 5, 8, 7])
    floats = bytes([10, 14, 10, 12, 10, 1, ord("f"), 18, 7, 18, 5, 13, 0, 0, 128, 63])
    for data, values in ((integers, [5, 7]), (floats, [1.0])):
        (feature,) = tf.train.Example.FromString(data).features.feature.values()
        assert list(feature.int64_list.value or feature.float_list.value) == values
        (found,) = decode_example(data).values()
        assert found.tolist() == values


GOOD = encode_example(FEATURES)


@settings(deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 9), st.binary(max_size=9))
def test_damaged_examples_parse_or_give_a_user_error(start, length, replacement):
    with contextlib.suppress(UserError):  # anything else fails the test
        decode_example(GOOD[:start] + replacement + GOOD[start + length :])


def test_a_flipped_bit_is_found_where_one_record_is_read(shard):
    content = bytearray(shard.read_bytes())
    offset, payload = list(scan_records(str(shard)))[-1]
    content[offset + 7] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=rf"damaged in the record at byte {offset - 12}"):
        read_payload(str(shard), offset, len(payload))


def test_a_length_beyond_the_file_is_refused_before_it_is_read(shard):
    length = (1 << 29).to_bytes(8, "little")
    shard.write_bytes(length + masked_crc32c(length).to_bytes(4, "little") + b"few")
    with pytest.raises(UserError, match="cut short"):
        next(scan_records(str(shard)))
    with pytest.raises(UserError, match="damaged"):
        read_payload(str(shard), 12, 1 << 60)
