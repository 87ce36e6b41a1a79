import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zip_keras.data.checks.images import decode_with_pillow, inspect, inspect_file, repair, verify
from zip_keras.errors import UserError


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(mode="RGB", height=30, width=50) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (250, 0, 0)
    return Image.fromarray(pixels).convert(mode)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), "JPEG", exif=exif, quality=95)


def png_16_bit_rgb() -> bytes:
    """A 2 x 3 PNG of 16-bit RGB, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.full(9, 0x8001, ">u2").tobytes() for _ in range(2))
    header = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animated(form: str) -> bytes:
    frames = [Image.fromarray(np.full((30, 50, 3), shade, np.uint8)) for shade in (0, 100, 200)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:])


SIXTEEN_BIT_GRAY = encoded(Image.fromarray(np.full((30, 50), 0x8001, np.uint16)), "PNG")


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (encoded(picture(), "JPEG"), set()),
        (encoded(picture(), "PNG"), set()),
        (encoded(picture("P"), "PNG"), set()),
        (encoded(picture("RGBA"), "PNG"), set()),
        (encoded(picture("L"), "JPEG"), {"grayscale"}),
        (encoded(picture("1"), "PNG"), {"grayscale"}),
        (encoded(picture("CMYK"), "JPEG"), {"cmyk"}),
        (turned(6), {"exif_rotated"}),
        (turned(1), set()),
        (png_16_bit_rgb(), {"sixteen_bit"}),
        (SIXTEEN_BIT_GRAY, {"sixteen_bit", "grayscale"}),
        (animated("GIF"), {"animated"}),
        (animated("WEBP"), {"animated"}),
        (animated("PNG"), {"animated"}),
    ],
)
def test_defects_that_the_header_shows(data, kinds):
    assert {kind for kind, _ in inspect(data, "x").defects()} == kinds
    assert verify(data, "x") == inspect(data, "x")


def test_size_as_stored_and_as_shown():
    info = inspect(turned(6), "x")
    assert (info.height, info.width, info.upright_size) == (30, 50, (50, 30))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_cut_short_or_damaged_images_are_refused(form):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    data = encoded(noise, form)
    assert verify(data, "x").format == form
    with pytest.raises(UserError, match=r"^x\.jpg: not a readable image"):
        verify(data[: len(data) // 2], "x.jpg")


@pytest.mark.parametrize("data", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_other_files_are_refused(data):
    with pytest.raises(UserError, match=r"x: not a readable image \(unknown format\)"):
        inspect(data, "x")


def test_pixels_are_bounded_before_they_are_decoded():
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")  # 110 kB of file, 2.7 GB as RGB
    assert len(bomb) < 200_000
    for read in (inspect, verify, decode_with_pillow, repair):
        with pytest.raises(UserError, match=r"x: (30000 x 30000 pixels are more than|not a readable image)"):
            read(bomb, "x")
    with pytest.raises(UserError, match="50 x 30 pixels are more than the limit of 1000"):
        inspect(encoded(picture(), "PNG"), "x", max_pixels=1000)


def test_a_long_header_is_read_to_its_end(tmp_path):
    path = tmp_path / "profile.jpg"
    picture().save(path, icc_profile=b"\0" * 300_000)
    assert inspect_file(str(path)).width == 50
    with pytest.raises(UserError, match="cannot be read"):
        inspect_file(str(tmp_path / "missing.jpg"))


def test_decoding_keeps_the_orientation_unless_upright_is_asked():
    stored, upright = decode_with_pillow(turned(6), "x"), decode_with_pillow(turned(6), "x", upright=True)
    assert (stored.shape, upright.shape) == ((30, 50, 3), (50, 30, 3))
    assert stored[15, 5, 0] > 200 > 50 > stored[15, 45, 0]  # red on the left ...
    assert upright[5, 15, 0] > 200 > 50 > upright[45, 15, 0]  # ... is on top after a quarter turn clockwise


@pytest.mark.parametrize("data", [SIXTEEN_BIT_GRAY, png_16_bit_rgb()])
def test_sixteen_bits_keep_their_upper_half(data):
    assert np.unique(decode_with_pillow(data, "x")).tolist() == [0x80]


@pytest.mark.parametrize(
    ("data", "form", "size"),
    [
        (turned(6), "JPEG", (50, 30)),
        (encoded(picture("CMYK"), "JPEG"), "JPEG", (30, 50)),
        (SIXTEEN_BIT_GRAY, "PNG", (30, 50)),
        (animated("GIF"), "PNG", (30, 50)),
    ],
)
def test_a_mended_image_has_no_defect(data, form, size):
    info = verify(repair(data, "x"), "x")
    assert (info.format, info.mode, info.height, info.width, info.defects()) == (form, "RGB", *size, [])


GOOD = {form: encoded(picture(), form) for form in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")}


@settings(deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.floats(0, 1), st.binary(min_size=1, max_size=8))
def test_any_damage_decodes_or_gives_a_user_error(form, where, damage):
    data = bytearray(GOOD[form])
    start = int(where * (len(data) - 1))
    data[start : start + len(damage)] = damage
    try:
        pixels = decode_with_pillow(bytes(data), "x", max_pixels=100_000)
    except UserError:
        return
    assert pixels.ndim == 3


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_early_is_refused(progressive):
    """With its end marker in place decoders fill what is missing with gray and report nothing."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    data = encoded(noise, "JPEG", progressive=progressive)
    verify(data, "x")
    for share in (0.5, 0.8, 0.9):
        with pytest.raises(UserError, match=r"x: the JPEG data end before the image does"):
            verify(data[: int(len(data) * share)] + b"\xff\xd9", "x")


@pytest.mark.parametrize(
    "kind", [b"VP8 \x0a\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f", b"VP8L\x05\0\0\0\x2f\xff\xff\xff\x0f\0"]
)
def test_a_webp_bomb_is_refused_before_pillow_allocates_it(kind):
    with pytest.raises(UserError, match=r"16383 x 16383 pixels|16384 x 16384 pixels"):
        inspect(b"RIFF\x1a\0\0\0WEBP" + kind + bytes(20), "x")


def test_a_pipe_is_no_image_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UserError, match="not a regular file"):
        inspect_file(str(tmp_path / "pipe.jpg"))
