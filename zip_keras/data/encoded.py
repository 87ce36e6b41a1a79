"""Fetches the encoded bytes (JPEG, PNG, ...) of a record's image, from its own file or out of a TFRecord shard."""

from __future__ import annotations

from collections.abc import Iterator

from zip_keras.errors import UserError

IMAGE_KEY = b"image/encoded"


def read_encoded(file: str, offset: int, length: int) -> bytes:
    """The encoded image of an `ImageRecord` with these `file`, `offset` and `length`.

    Raises:
        UserError: the file is missing or cut short, or the shard's example holds no image.
    """
    try:
        with open(file, "rb") as stream:
            stream.seek(offset)
            content = stream.read(length)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); put it back or prepare the data again") from None
    if length < 0:
        return content
    try:
        if len(content) != length:
            raise ValueError("the shard is cut short")
        return _image_bytes(content)
    except (ValueError, IndexError) as error:
        raise UserError(
            f"{file}: no image in the example at byte {offset} ({error}); run prepare_data again, "
            f"and open the records afresh if they were rewritten meanwhile"
        ) from None


def describe(file: str, offset: int, length: int) -> str:
    """How messages name the image."""
    return file if length < 0 else f"{file} (example at byte {offset})"


def _image_bytes(example: bytes) -> bytes:
    """The first bytes value of feature "image/encoded" of a serialized `tf.Example`.

    `Example{1: Features{1: repeated Entry{1: key, 2: Feature{1: BytesList{1: repeated bytes}}}}}`: read from the
    wire format because the loader without TensorFlow has no protobuf classes.
    """
    for features in _values(example, field=1):
        for entry in _values(features, field=1):
            if next(_values(entry, field=1), None) == IMAGE_KEY:
                feature = next(_values(entry, field=2), b"")
                return bytes(next(_values(next(_values(feature, field=1), b""), field=1)))
    raise ValueError(f"it has no feature {IMAGE_KEY.decode()!r}")


def _values(message: bytes | memoryview, field: int) -> Iterator[memoryview]:
    """The length-delimited values of one field of a protobuf message, without copying."""
    view, position = memoryview(message), 0
    while position < len(view):
        tag, position = _varint(view, position)
        if tag & 7 != 2:
            raise ValueError("it is not a tf.Example")
        size, position = _varint(view, position)
        if position + size > len(view):
            raise ValueError("it is not a tf.Example")
        if tag >> 3 == field:
            yield view[position : position + size]
        position += size


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """A base-128 integer and the position after it."""
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
