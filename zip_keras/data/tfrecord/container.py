"""TFRecord files and `tf.Example` without TensorFlow: checksums, framing, encoding, decoding.

A record is `length (uint64) | masked crc32c of length (uint32) | payload | masked crc32c of payload`, little-endian.
Without TensorFlow, workers start quickly and records can be read on any Keras backend.
"""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import google_crc32c
import numpy as np

from zip_keras.errors import UserError
from zip_keras.utils.reading import open_regular

HEADER_BYTES = 12
FOOTER_BYTES = 4
MAX_RECORD_BYTES = 1 << 30

Values = Sequence[bytes] | Sequence[float] | Sequence[int] | np.ndarray


def masked_crc32c(data: bytes) -> int:
    """The masked CRC-32C checksum that TFRecord files store."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_record(file: BinaryIO, payload: bytes) -> int:
    """Append one record and return the offset of its payload in the file."""
    length = struct.pack("<Q", len(payload))
    file.write(length + struct.pack("<I", masked_crc32c(length)))
    offset = file.tell()
    file.write(payload)
    file.write(struct.pack("<I", masked_crc32c(payload)))
    return offset


def scan_records(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield `(offset, payload)` of every record of a shard and verify all checksums.

    Raises:
        UserError: the file is missing, truncated or damaged; the message states the byte position.
    """
    with open_regular(path) as file:
        yield from scan_stream(file, path, os.fstat(file.fileno()).st_size)


def scan_stream(file: BinaryIO, path: str, size: int | None = None) -> Iterator[tuple[int, bytes]]:
    """`scan_records` for an open shard.

    Args:
        file: the shard, positioned at its first byte.
        path: path for messages.
        size: size of the file in bytes, if known; records beyond it are rejected before memory is allocated.

    Raises:
        UserError: as `scan_records`.
    """
    position = 0
    while header := file.read(HEADER_BYTES):
        if len(header) < HEADER_BYTES:
            raise _cut(path, position)
        length, checksum = struct.unpack("<QI", header)
        if masked_crc32c(header[:8]) != checksum or length > MAX_RECORD_BYTES:
            raise _damaged(path, position)
        if size is not None and position + HEADER_BYTES + length + FOOTER_BYTES > size:
            raise _cut(path, position)
        payload, footer = file.read(length), file.read(FOOTER_BYTES)
        if len(payload) < length or len(footer) < FOOTER_BYTES:
            raise _cut(path, position)
        if struct.unpack("<I", footer)[0] != masked_crc32c(payload):
            raise _damaged(path, position)
        yield position + HEADER_BYTES, payload
        position += HEADER_BYTES + length + FOOTER_BYTES


def read_payload(path: str, offset: int, length: int) -> bytes:
    """Read the payload of one record and verify its checksum.

    Args:
        path: path of the shard.
        offset, length: position and size of the payload in bytes, as in `ImageRecord`.

    Raises:
        UserError: the shard is missing, truncated or damaged.
    """
    if not 0 <= length <= MAX_RECORD_BYTES or offset < HEADER_BYTES:
        raise _damaged(path, offset)
    with open_regular(path) as file:
        file.seek(offset)
        payload, footer = file.read(length), file.read(FOOTER_BYTES)
    if len(payload) < length or len(footer) < FOOTER_BYTES:
        raise _cut(path, offset - HEADER_BYTES)
    if struct.unpack("<I", footer)[0] != masked_crc32c(payload):
        raise _damaged(path, offset - HEADER_BYTES)
    return payload


def _cut(path: str, position: int) -> UserError:
    return UserError(f"{path}: cut short in the record at byte {position}; copy or prepare this shard again")


def _damaged(path: str, position: int) -> UserError:
    return UserError(
        f"{path}: not a TFRecord file, or damaged in the record at byte {position} (checksum differs); "
        "copy or prepare this shard again"
    )


def encode_example(features: Mapping[str, Values]) -> bytes:
    """Serialize a `tf.Example`; `features` holds lists of bytes, floats or integers by name."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _encode_values(values))) for name, values in features.items()
    )
    return _field(1, entries)


def decode_example(data: bytes | memoryview, name: str = "tf.Example") -> dict[str, list[bytes] | np.ndarray]:
    """Parse a serialized `tf.Example` into lists of bytes and float32 or int64 arrays by name.

    Raises:
        UserError: the bytes are not a `tf.Example`; the message begins with `name`.
    """
    features: dict[str, list[bytes] | np.ndarray] = {}
    try:
        for number, content in _fields(memoryview(data)):
            if number == 1:  # Example.features
                for inner, entry in _fields(_message(content)):
                    if inner == 1:  # Features.feature, a map entry
                        parts = dict(_fields(_message(entry)))
                        features[bytes(_message(parts[1])).decode()] = _decode_values(_message(parts.get(2, b"")))
    except (IndexError, KeyError, ValueError, struct.error, TypeError) as error:
        raise UserError(f"{name}: not a serialized tf.Example ({error})") from None
    return features


def _encode_values(values: Values) -> bytes:
    # An empty array has a dtype. An empty list counts as bytes: it holds the class names of an image without objects.
    if isinstance(values[0], bytes) if len(values) else isinstance(values, list):
        return _field(1, b"".join(_field(1, value) for value in values))  # type: ignore[arg-type]
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return _field(2, _field(1, array.astype("<f4").tobytes()) if array.size else b"")
    return _field(3, _field(1, b"".join(_varint(int(v) & 0xFFFFFFFFFFFFFFFF) for v in array)) if array.size else b"")


def _decode_values(data: memoryview) -> list[bytes] | np.ndarray:
    for number, content in _fields(data):
        if number == 1:
            return [bytes(_message(value)) for _, value in _fields(_message(content))]
        if number == 2:  # packed, or one fixed32 per value
            chunks = [bytes(value) for _, value in _fields(_message(content)) if not isinstance(value, int)]
            return np.frombuffer(b"".join(chunks), "<f4").astype(np.float32)
        if number == 3:  # packed, or one varint per value
            numbers: list[int] = []
            for _, value in _fields(_message(content)):
                numbers.extend([value] if isinstance(value, int) else _varints(value))
            return np.array(numbers, np.uint64).astype(np.int64)
    return np.zeros(0, np.int64)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a protocol buffer message as `(number, integer or bytes)`."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = _read_varint(data, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, position = _read_varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if position + length > len(data):
            raise ValueError("cut short")
        yield tag >> 3, data[position : position + length]
        position += length


def _message(content: object) -> memoryview:
    if isinstance(content, int):
        raise ValueError("a number where a message was expected")
    return memoryview(content)  # type: ignore[arg-type]


def _varints(data: memoryview) -> list[int]:
    numbers, position = [], 0
    while position < len(data):
        value, position = _read_varint(data, position)
        numbers.append(value)
    return numbers


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise ValueError("a varint is too long")
