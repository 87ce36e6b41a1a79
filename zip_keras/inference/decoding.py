"""Image decoding inside a TensorFlow graph, for inference, export and serving.

TensorFlow's default JPEG decoder rounds differently from build to build. The accurate one gives the same pixels
everywhere.
"""

from collections.abc import Callable

import tensorflow as tf

from zip_keras.data.image_headers import FILLER, MAX_PIXELS

_JPEG, _PNG, _GIF, _BMP, _WEBP = b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF"
_MAX_SEGMENTS = 100_000  # per JPEG
_ACCURATE = {"channels": 3, "dct_method": "INTEGER_ACCURATE"}
_EVEN = 4.0  # of 255: smaller differences in brightness are rounding errors


def decode_in_graph(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a string scalar of JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `[H, W, 3]` RGB.

    Grayscale is repeated, transparency is dropped, and EXIF orientation is not applied.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no such image, the image data end early, or the header states more
            than `MAX_PIXELS`. The header is checked before anything is decoded.
    """
    pixels = stated_pixels(encoded)
    checks = [
        tf.debugging.assert_positive(pixels, "not the header of a JPEG, PNG, GIF, BMP or WebP image"),
        tf.debugging.assert_less_equal(pixels, tf.constant(MAX_PIXELS, tf.int64), f"more than {MAX_PIXELS:,} pixels"),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):  # None in eager mode
        encoded = tf.identity(encoded)
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: _decode_jpeg(encoded),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def decode_or_blank(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Like `decode_in_graph`, but does not fail: returns the image and True, or uint8 `[0, 0, 3]` and False."""
    return _or_blank(decode_in_graph, encoded)


def decode_example_or_blank(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply `decode_or_blank` to the feature `image/encoded` of a serialized `tf.train.Example`, a string scalar.

    Bytes that are no Example, or an Example without this feature, give the blank result.
    """

    def decode(serialized: tf.Tensor) -> tf.Tensor:
        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        return decode_in_graph(tf.io.parse_single_example(serialized, features)["image/encoded"])

    return _or_blank(decode, example)


def _or_blank(decode: Callable[[tf.Tensor], tf.Tensor], content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode inside a one-element `tf.data` pipeline: graphs have no `try`, but every runtime has `ignore_errors`."""
    attempt = tf.data.Dataset.from_tensors(content).map(decode).ignore_errors()
    blank = tf.data.Dataset.from_tensors(tf.zeros([0, 0, 3], tf.uint8))
    image = tf.ensure_shape(attempt.concatenate(blank).take(1).get_single_element(), [None, None, 3])
    return image, tf.size(image) > 0


def stated_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Height times width as stated in the image header, int64; 0 for unknown formats.

    The fields are those of `zip_keras.data.image_headers.stated_size`.
    """

    def product(sides: tf.Tensor) -> tf.Tensor:
        return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64)))

    def part(position: int, size: int) -> tf.Tensor:
        return tf.strings.substr(encoded, position, size)

    def field(position: int, size: int, kind: tf.DType, little_endian: bool = True) -> tf.Tensor:
        return tf.io.decode_raw(part(position, size), kind, little_endian=little_endian)

    def begins(mark: bytes) -> tf.Tensor:
        return tf.equal(part(0, len(mark)), mark)

    def webp(kind: bytes) -> tf.Tensor:
        return begins(_WEBP) & tf.equal(part(8, 8), b"WEBP" + kind)

    def lossless() -> tf.Tensor:
        bits = tf.cast(field(21, 4, tf.uint8), tf.int64)
        bits = tf.reduce_sum(bits * [1, 1 << 8, 1 << 16, 1 << 24])
        return (bits // (1 << 14) % (1 << 14) + 1) * (bits % (1 << 14) + 1)

    def extended() -> tf.Tensor:
        bytes_ = tf.reshape(tf.cast(field(24, 6, tf.uint8), tf.int64), [2, 3])
        return tf.reduce_prod(tf.reduce_sum(bytes_ * [1, 1 << 8, 1 << 16], axis=1) + 1)

    return tf.case(
        [
            (begins(_JPEG), lambda: product(tf.io.extract_jpeg_shape(encoded)[:2])),
            (begins(_PNG), lambda: product(field(16, 8, tf.int32, little_endian=False))),
            (begins(_GIF), lambda: product(field(6, 4, tf.uint16))),
            (begins(_BMP), lambda: product(field(18, 8, tf.int32))),
            (webp(b"VP8 "), lambda: product(tf.bitwise.bitwise_and(field(26, 4, tf.uint16), 0x3FFF))),
            (webp(b"VP8L"), lossless),
            (webp(b"VP8X"), extended),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG and fail if its data are incomplete.

    The decoder rejects incomplete data only if the end marker is missing too. Otherwise it fills the missing part with
    gray without an error. Therefore the image is decoded a second time with filler bytes before the end marker. The
    decoder skips them after complete data; after incomplete data they change the pixels.

    libjpeg warns of such bytes on standard error when it reaches the end marker. The second decoding of a baseline
    image is cropped by one line and does not reach it. A progressive image is read completely before the first line is
    output, so it is decoded again only if its last block is even, as filled blocks are. A progressive image with a
    complete first scan and an incomplete later one has less detail and is accepted.
    """
    end, progressive = _jpeg_end(encoded)
    filled = tf.strings.join([tf.strings.substr(encoded, 0, end), FILLER, b"\xff\xd9"])
    image = tf.io.decode_jpeg(encoded, **_ACCURATE)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    lines = tf.maximum(1, height - 1)

    def ends_early() -> tf.Tensor:
        other = tf.io.decode_and_crop_jpeg(filled, [0, 0, lines, width], **_ACCURATE)
        return tf.reduce_any(tf.not_equal(image[:lines], other))

    early = tf.cond(progressive & ~_last_block_is_even(image), lambda: tf.constant(False), ends_early)
    check = tf.debugging.Assert(~early, ["the JPEG data end before the image does"])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(image)


def _last_block_is_even(image: tf.Tensor) -> tf.Tensor:
    """Whether the last 8 x 8 block has uniform brightness. Colours are ignored: neighbours may bleed into the block."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    block = tf.cast(image[(height - 1) // 8 * 8 :, (width - 1) // 8 * 8 :], tf.float32)
    brightness = tf.tensordot(block, tf.constant([0.299, 0.587, 0.114]), 1)
    return tf.reduce_max(brightness) - tf.reduce_min(brightness) < _EVEN


def _jpeg_end(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The position of a JPEG's end marker (the length of the data if there is none) and whether it is progressive.

    Equivalent to `image_headers.jpeg_layout`.
    """
    content = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    size = tf.size(content)
    second = content[1:]
    is_marker = (content[:-1] == 0xFF) & (second != 0) & (second != 0xFF) & ~((second >= 0xD0) & (second <= 0xD7))
    markers = tf.cast(tf.where(is_marker)[:, 0], tf.int32)  # includes those inside segments

    def next_marker(position: tf.Tensor) -> tf.Tensor:
        place = tf.searchsorted(markers, position[None])[0]
        return tf.cond(place < tf.size(markers), lambda: markers[tf.minimum(place, tf.size(markers) - 1)], lambda: size)

    def is_segment(position: tf.Tensor, progressive: tf.Tensor) -> tf.Tensor:
        return (position + 4 <= size) & (content[tf.minimum(position + 1, size - 1)] != 0xD9)

    def skip(position: tf.Tensor, progressive: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        marker = content[position + 1]
        length = tf.maximum(2, content[position + 2] * 256 + content[position + 3])
        alone = (marker == 1) | (marker == 0xD8)
        return next_marker(position + 2 + tf.where(alone, 0, length)), progressive | (marker == 0xC2)

    start = (next_marker(tf.constant(2)), tf.constant(False))
    return tf.while_loop(is_segment, skip, start, maximum_iterations=_MAX_SEGMENTS)
