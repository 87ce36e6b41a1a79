"""Headers of encoded images, read without a decoder: format, size, and the end of JPEG data.

Decoders allocate the memory that a header asks for, some of them when they open a file. Sizes are therefore checked
here first. The served graph reads the same fields in `zip_keras.inference.decoding`.
"""

import struct
from dataclasses import dataclass

from zip_keras.errors import UserError

MAX_PIXELS = 64_000_000  # 8,000 x 8,000; 192 MB as RGB; the limit of training, prediction and serving

# JPEG marker codes (ITU T.81, table B.1). `_FRAMES` start a frame; `_ALONE` are not followed by a length.
_SOS, _EOI, _PROGRESSIVE = 0xDA, 0xD9, 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
FILLER = b"\x55" * 64  # decodes to some code words of entropy-coded JPEG data under any Huffman tables


@dataclass(frozen=True)
class JpegLayout:
    """Layout of a JPEG.

    Attributes:
        end: position of the end-of-image marker; -1 if there is none.
        progressive: whether the JPEG is progressive.
    """

    end: int
    progressive: bool


def stated_size(data: bytes) -> tuple[int, int] | None:
    """`(height, width)` in the header of a JPEG, PNG, GIF, BMP or WebP; None for other or broken bytes.

    The fields are those that TensorFlow's decoders read. For WebP, this is the canvas of the extended format (VP8X) or
    the size in the lossless (VP8L) or lossy (VP8) stream.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _jpeg_size(data)
        if data[:4] == b"\x89PNG":
            width, height = struct.unpack_from(">II", data, 16)
        elif data[:4] == b"GIF8":
            width, height = struct.unpack_from("<HH", data, 6)
        elif data[:2] == b"BM":
            width, height = struct.unpack_from("<ii", data, 18)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            height, width = _webp_size(data)
        else:
            return None
    except (struct.error, IndexError, KeyError):
        return None
    return abs(height), abs(width)


def check_pixels(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise `UserError` if the header states more than `max_pixels` pixels; the message begins with `name`."""
    if (size := stated_size(data)) is not None:
        refuse_large(*size, name, max_pixels)


def refuse_large(height: int, width: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise `UserError` if `height` times `width` is more than `max_pixels`."""
    if height * width > max_pixels:
        raise UserError(f"{name}: {width} x {height} pixels are more than the limit of {max_pixels}")


def jpeg_layout(data: bytes) -> JpegLayout:
    """Walk the segments of a JPEG; thumbnails inside segments are skipped."""
    position, progressive = 2, False
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position = data.find(b"\xff", position)  # image data, or bytes that decoders skip too
            if position < 0:
                break
            continue
        marker = data[position + 1]
        if marker == _EOI:
            return JpegLayout(position, progressive)
        if marker == 0xFF:
            position += 1
        elif marker == 0 or marker in _ALONE:
            position += 2
        else:
            progressive |= marker == _PROGRESSIVE
            position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
    return JpegLayout(data.find(b"\xff\xd9", position) if position + 2 <= len(data) else -1, progressive)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF or marker in (_SOS, _EOI):
            return None
        if marker in _FRAMES:
            return struct.unpack_from(">HH", data, position + 5)
        if marker == 0xFF:
            position += 1
        else:
            position += 2 if marker in _ALONE else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        sides = data[24:30]
        if len(sides) == 6:
            return int.from_bytes(sides[3:], "little") + 1, int.from_bytes(sides[:3], "little") + 1
    raise KeyError(kind)
