import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from zip_keras.errors import UserError
from zip_keras.inference.decoding import decode_or_blank, stated_pixels
from zip_keras.inference.runner import decode_image


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
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
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_bytes_are_one_clear_sentence(encoded_image, what):
    with pytest.raises(UserError, match=r"^shot\.jpg: does not decode \(") as raised:
        decode_image(BROKEN[what](encoded_image), "shot.jpg")
    message = str(raised.value)
    assert "\n" not in message
    assert "{{" not in message
    assert "[Op" not in message
    if what == "bomb":
        assert "more than 64,000,000 pixels" in message


def test_a_graph_marks_broken_bytes_instead_of_failing(encoded_image):
    traced = tf.function(decode_or_blank, input_signature=[tf.TensorSpec([], tf.string)])
    for make in BROKEN.values():
        image, decoded = traced(tf.constant(make(encoded_image)))
        assert (tuple(image.shape), bool(decoded)) == ((0, 0, 3), False)
    image, decoded = traced(tf.constant(encoded_image("PNG", 7, 9)))
    assert (tuple(image.shape), bool(decoded)) == ((7, 9, 3), True)
