"""Encoded images to pixels inside a TensorFlow graph: one decoder for prediction, export and serving.

TensorFlow's default JPEG decoder rounds differently from build to build; the accurate one gives one answer everywhere.
"""

import tensorflow as tf

MAX_PIXELS = 64_000_000  # a photograph of any camera; more is a decompression bomb


def decode_rgb(encoded: tf.Tensor) -> tf.Tensor:
    """JPEG, PNG, GIF (first frame) or BMP bytes, a string scalar, to uint8 `[H, W, 3]` RGB.

    Grayscale is repeated, transparency dropped, EXIF orientation not applied.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no such image, or its header states more than `MAX_PIXELS`.
    """
    tf.debugging.assert_less_equal(
        stated_pixels(encoded), tf.constant(MAX_PIXELS, tf.int64), f"more than {MAX_PIXELS:,} pixels"
    )
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def decode_or_blank(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`decode_rgb` that does not fail: the image and True, or uint8 `[0, 0, 3]` and False.

    A graph has no `try`; a data set of one element has, and it is part of every TensorFlow runtime.
    """
    attempt = tf.data.Dataset.from_tensors(encoded).map(decode_rgb).ignore_errors()
    blank = tf.data.Dataset.from_tensors(tf.zeros([0, 0, 3], tf.uint8))
    image = tf.ensure_shape(attempt.concatenate(blank).take(1).get_single_element(), [None, None, 3])
    return image, tf.size(image) > 0


def stated_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Height times width as the image's header states them, int64; 0 for bytes of no known kind."""

    def product(sides: tf.Tensor) -> tf.Tensor:
        return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64)))

    def field(position: int, size: int, kind: tf.DType, little_endian: bool = True) -> tf.Tensor:
        return tf.io.decode_raw(tf.strings.substr(encoded, position, size), kind, little_endian=little_endian)

    def begins(mark: bytes) -> tf.Tensor:
        return tf.equal(tf.strings.substr(encoded, 0, len(mark)), mark)

    return tf.case(
        [
            (tf.io.is_jpeg(encoded), lambda: product(tf.io.extract_jpeg_shape(encoded)[:2])),
            (begins(b"\x89PNG"), lambda: product(field(16, 8, tf.int32, little_endian=False))),
            (begins(b"GIF8"), lambda: product(field(6, 4, tf.uint16))),
            (begins(b"BM"), lambda: product(field(18, 8, tf.int32))),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )
