"""What a browser sends becomes pixels, or one sentence that says what is wrong with it."""

import io

import numpy as np

from zip_keras.data.image_headers import MAX_PIXELS, stated_size
from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import

_ORIENTATION = 0x0112  # of EXIF


def read_upload(data: bytes, name: str) -> np.ndarray:
    """The bytes of an image file as uint8 `[H, W, 3]` RGB, turned upright as its EXIF orientation says.

    A browser shows photographs upright, so boxes have to be in those pixels. `zip-keras propose` does not turn them.

    Args:
        data: of a JPEG, PNG, GIF (first frame), BMP or WebP file.
        name: of the file, for the message.

    Raises:
        UserError: no such image, a broken one, or more than `MAX_PIXELS`; found out before anything is decoded.
    """
    if not data:
        raise UserError(f"{name}: the file is empty; choose another one")
    if (size := stated_size(data)) is None:
        raise UserError(f"{name}: not a JPEG, PNG, GIF, BMP or WebP image; choose another file")
    height, width = size
    if height * width > MAX_PIXELS:
        raise UserError(
            f"{name}: {width:,} x {height:,} pixels are more than the limit of {MAX_PIXELS:,}; make the image smaller"
        )
    from zip_keras.inference.runner import decode_image

    try:
        pixels = decode_image(data, name)
    except UserError:  # whose reason is the decoder's, and whose advice is about data sets
        raise UserError(f"{name}: the image is broken or cut short; choose another file") from None
    return upright(pixels, _orientation(data))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels `[H, W, 3]` of a camera that was held as EXIF orientation 1 to 8 says, upright; others as they are."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _orientation(data: bytes) -> int:
    """1, upright, where the file says nothing or its metadata are broken: its pixels have been decoded already."""
    pictures = optional_import("PIL.Image", "zip-keras serve", "serve")
    try:
        with pictures.open(io.BytesIO(data)) as picture:
            return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises anything on broken metadata
        return 1


def reduced(pixels: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The image with no side longer than `longest`, and the factor by which it became smaller, at most 1."""
    factor = min(1.0, longest / max(pixels.shape[:2]))
    if factor == 1.0:
        return pixels, 1.0
    height, width = (max(1, round(factor * side)) for side in pixels.shape[:2])
    pictures = optional_import("PIL.Image", "zip-keras serve", "serve")
    return np.asarray(pictures.fromarray(pixels).resize((width, height), pictures.Resampling.BILINEAR)), factor
