import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zip_keras.data.checks.images import verify
from zip_keras.data.image_headers import stated_size
from zip_keras.errors import UserError
from zip_keras.inference.decoding import decode_or_blank, stated_pixels
from zip_keras.inference.runner import decode_image

KINDS = ["JPEG", "PNG", "GIF", "BMP", "WEBP"]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", KINDS[:4])
@pytest.mark.parametrize(("height", "width"), [(37, 53), (1, 1), (5, 300)])
def test_pixels_are_those_of_pillow(encoded_image, kind, mode, height, width):
    """The training pipeline decodes by Pillow: what the network sees must not depend on who decodes."""
    encoded = encoded_image(kind, height, width, mode)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(encoded, "made"), expected)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("JPEG", "CMYK")])
def test_other_pixel_types_become_rgb(encoded_image, kind, mode):
    encoded = encoded_image(kind, 20, 30, mode)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(encoded, "made"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_states_the_size(encoded_image, kind):
    assert int(stated_pixels(tf.constant(encoded_image(kind, 300, 5)))) == 1500


def bomb(encoded_png: bytes) -> bytes:
    """A PNG whose header states 60,000 x 60,000 pixels."""
    return encoded_png[:16] + struct.pack(">II", 60_000, 60_000) + encoded_png[24:]


BROKEN = {
    "JPEG cut short": lambda image: image("JPEG", 40, 50)[:400],
    "JPEG mark alone": lambda image: b"\xff\xd8\xff",
    "PNG cut short": lambda image: image("PNG", 40, 50)[:100],
    "PNG mark alone": lambda image: b"\x89PNG",
    "BMP mark alone": lambda image: b"BM",
    "text": lambda image: b"no image at all",
    "nothing": lambda image: b"",
    "bomb": lambda image: bomb(image("PNG", 4, 4)),
    "lossy WebP bomb": lambda image: b"RIFF\x1a\0\0\0WEBPVP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
    "lossless WebP bomb": lambda image: b"RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2f\xff\xff\xff\x0f\0",
    "extended WebP bomb": lambda image: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
    "TIFF, which TensorFlow does not decode": lambda image: image("TIFF", 4, 4),
    "JPEG that ends early": lambda image: ending_early(image("JPEG", 40, 50)),
    "progressive JPEG that ends early": lambda image: ending_early(image("JPEG", 40, 50, progressive=True)),
}


def ending_early(jpeg: bytes) -> bytes:
    """A JPEG of which the last tenth of the data is missing and the end marker is not."""
    return jpeg[: int(len(jpeg) * 0.9)] + b"\xff\xd9"


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}])
def test_the_three_headers_of_webp_state_the_size(options, encoded_image):
    encoded = encoded_image("WEBP", 31, 70, **options)
    assert encoded[12:16] == {"lossless": b"VP8L", "exif": b"VP8X"}.get(next(iter(options), ""), b"VP8 ")
    assert stated_size(encoded) == (31, 70)
    assert int(stated_pixels(tf.constant(encoded))) == 31 * 70
    assert decode_image(encoded, "made").shape == (31, 70, 3)


def test_both_readers_of_headers_agree(encoded_image):
    """Python's before Pillow opens a file, the graph's before TensorFlow decodes it."""
    rng = np.random.default_rng(0)
    for kind in KINDS:
        good = encoded_image(kind, 300, 5)
        assert stated_size(good) == (300, 5)
        for _ in range(40):
            damaged = bytearray(good[: int(rng.integers(30, 60))])
            if rng.random() < 0.5:
                damaged[int(rng.integers(len(damaged)))] = int(rng.integers(256))
            height, width = stated_size(bytes(damaged)) or (0, 0)
            try:
                pixels = int(stated_pixels(tf.constant(bytes(damaged))))
            except (tf.errors.OpError, UnicodeDecodeError):
                continue  # a header that does not hold the field
            if damaged[:3] != b"\xff\xd8\xff":  # TensorFlow's reader of JPEG headers wants more of them
                assert pixels == height * width


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"quality": 1}])
def test_complete_jpegs_pass(encoded_image, options):
    """With a thumbnail that has an end marker of its own, and with bytes behind the end."""
    jpeg = encoded_image("JPEG", 61, 83, **options)
    thumbnail = b"\xff\xe1" + (2 + len(jpeg)).to_bytes(2, "big") + jpeg
    for content in (jpeg, jpeg + b"after the end", jpeg + jpeg, jpeg[:2] + thumbnail + jpeg[2:]):
        assert decode_image(content, "made").shape == (61, 83, 3)
        assert verify(content, "made").height == 61


def test_a_good_jpeg_is_decoded_without_a_word(encoded_image, capfd):
    """libjpeg writes to the process's standard error, which is a server's log."""
    for height, options in ((61, {}), (64, {}), (65, {"subsampling": 0}), (40, {"progressive": True})):
        decode_image(encoded_image("JPEG", height, 50, **options), "made")
    captured = capfd.readouterr()
    assert "JPEG" not in captured.out + captured.err


@pytest.mark.parametrize("what", BROKEN)
def test_broken_bytes_are_one_clear_sentence(encoded_image, what):
    with pytest.raises(UserError, match=r"^shot\.jpg: does not decode \(") as raised:
        decode_image(BROKEN[what](encoded_image), "shot.jpg")
    message = str(raised.value)
    assert "\n" not in message
    assert "{{" not in message
    assert "[Op" not in message
    if "bomb" in what:
        assert "more than 64,000,000 pixels" in message


def test_a_graph_marks_broken_bytes_instead_of_failing(encoded_image):
    traced = tf.function(decode_or_blank, input_signature=[tf.TensorSpec([], tf.string)])
    for make in BROKEN.values():
        image, decoded = traced(tf.constant(make(encoded_image)))
        assert (tuple(image.shape), bool(decoded)) == ((0, 0, 3), False)
    image, decoded = traced(tf.constant(encoded_image("PNG", 7, 9)))
    assert (tuple(image.shape), bool(decoded)) == ((7, 9, 3), True)
