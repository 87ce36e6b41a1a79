"""Decode images uploaded by a browser."""

import io

import numpy as np

from zip_keras.data.image_headers import MAX_PIXELS, stated_size
from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import

_ORIENTATION = 0x0112  # EXIF tag


def read_upload(data: bytes, name: str) -> np.ndarray:
    """Decode an image file to uint8 `[H, W, 3]` RGB and apply its EXIF orientation.

    Browsers show photographs upright, so boxes must be in the rotated pixels. `zip-keras propose` does not apply the
    orientation.

    Args:
        data: bytes of a JPEG, PNG, GIF (first frame), BMP or WebP file.
        name: name of the file in messages.

    Raises:
        UserError: the bytes are no such image, are broken, or have more than `MAX_PIXELS`. Format and size are checked
            before decoding.
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
    except UserError:  # its message is about the decoder and data sets
        raise UserError(f"{name}: the image is broken or cut short; choose another file") from None
    return upright(pixels, _orientation(data))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror pixels `[H, W, 3]` by EXIF orientation 1 to 8; other values change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _orientation(data: bytes) -> int:
    """The EXIF orientation; 1 (upright) if it is missing or the metadata are broken."""
    pictures = optional_import("PIL.Image", "zip-keras serve", "serve")
    try:
        with pictures.open(io.BytesIO(data)) as picture:
            return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises many types for broken metadata
        return 1


def reduced(pixels: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """Downscale an image to sides of at most `longest` pixels; returns the image and the scale factor, at most 1."""
    factor = min(1.0, longest / max(pixels.shape[:2]))
    if factor == 1.0:
        return pixels, 1.0
    height, width = (max(1, round(factor * side)) for side in pixels.shape[:2])
    pictures = optional_import("PIL.Image", "zip-keras serve", "serve")
    return np.asarray(pictures.fromarray(pixels).resize((width, height), pictures.Resampling.BILINEAR)), factor
