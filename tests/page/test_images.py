import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from zip_keras.errors import UserError
from zip_keras.page.images import read_upload, reduced


def photograph(orientation: int) -> bytes:
    """A JPEG without chroma subsampling whose corners differ."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8], pixels[8:, :8], pixels[:8, 16:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(buffer, "JPEG", quality=95, subsampling=0, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_pillow_turns_them(orientation):
    data = photograph(orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    found = read_upload(data, "photo.jpg")
    assert found.shape == expected.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))
    np.testing.assert_allclose(found.astype(int), expected, atol=2)


def test_every_kind_of_file(encoded_image):
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        assert read_upload(encoded_image(kind, 20, 30), "x").shape == (20, 30, 3)
    assert read_upload(encoded_image("PNG", 20, 30, "L"), "x").shape == (20, 30, 3)


def huge_png() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "photo.jpg: the file is empty; choose another one"),
        (b"hello world, no image", "photo.jpg: not a JPEG, PNG, GIF, BMP or WebP image; choose another file"),
        (huge_png(), "photo.jpg: 50,000 x 40,000 pixels are more than the limit of 64,000,000; make the image smaller"),
    ],
)
def test_what_is_no_image_or_too_large(data, message):
    with pytest.raises(UserError) as caught:
        read_upload(data, "photo.jpg")
    assert str(caught.value) == message


def test_a_broken_photograph(encoded_image):
    whole = encoded_image("JPEG", 200, 300)
    for length in (400, 4000, len(whole) - 100):
        with pytest.raises(UserError, match=r"^photo.jpg: the image is broken or cut short; choose another file$"):
            read_upload(whole[:length], "photo.jpg")


def test_a_large_image_is_reduced_and_a_small_one_stays():
    pixels = np.zeros((100, 400, 3), np.uint8)
    small, factor = reduced(pixels, 100)
    assert (small.shape, factor) == ((25, 100, 3), 0.25)
    same, factor = reduced(pixels, 400)
    assert same is pixels
    assert factor == 1
