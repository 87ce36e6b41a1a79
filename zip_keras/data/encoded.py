"""Encoded images (JPEG, PNG, ...): reading them from image files or TFRecord shards, and their errors.

This module does not import TensorFlow, because both data loaders use it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zip_keras.data.tfrecord.container import decode_example, read_payload
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_bytes

IMAGE_KEY = "image/encoded"
MAX_BYTES = 256 * 1024 * 1024  # largest image file


def read_encoded(file: str, offset: int, length: int) -> bytes:
    """Read the encoded image at `file`, `offset` and `length` of an `ImageRecord`.

    Raises:
        UserError: the file is missing or truncated, or the example in the shard has no image.
    """
    if length < 0:
        try:
            return read_bytes(file, MAX_BYTES)
        except UserError as error:
            raise UserError(f"{error}; put it back or prepare the data again") from None
    place = f"{file}: no image in the example at byte {offset}"
    advice = "run prepare_data again, and open the records afresh if they were rewritten meanwhile"
    content = read_payload(file, offset, length)
    images = decode_example(content, place).get(IMAGE_KEY)
    if not isinstance(images, list) or not images:
        raise UserError(f"{place} (it has no feature {IMAGE_KEY!r}); {advice}")
    return images[0]


def describe(file: str, offset: int, length: int) -> str:
    """Name of an image in messages."""
    return file if length < 0 else f"{file} (example at byte {offset})"


def undecodable(shown: str, reason: object) -> UserError:
    """The error for bytes that cannot be decoded."""
    first_line = next(iter(str(reason).splitlines()), "unknown format")
    return UserError(
        f"{shown}: does not decode ({first_line}); replace it, or let prepare_data leave it out with its policy skip"
    )


def check_size(shown: str, decoded: Sequence[int], original: np.ndarray | tuple[int, int], ratio: int) -> None:
    """Raise `UserError` unless the decoded image, reduced by `ratio`, has its annotated height and width."""
    height, width = (int(side) for side in original)
    if tuple(decoded[:2]) != (-(-height // ratio), -(-width // ratio)):
        raise UserError(
            f"{shown}: is {decoded[1] * ratio} x {decoded[0] * ratio} pixels, annotated as {width} x {height} "
            f"(width x height); run prepare_data to find such images"
        )


def jpeg_reduction(
    original: np.ndarray | tuple[int, int], window: Sequence[int] | np.ndarray, size: np.ndarray | tuple[int, int]
) -> int:
    """The factor, 1, 2, 4 or 8, by which a JPEG decoder may shrink an image whose `window` is resized to `size`.

    It is the largest factor that keeps both sides at least as long as `size`. It is 1 for a crop, because the edges of
    a window may not fall on reduced pixels.
    """
    height, width = (int(side) for side in original)
    if tuple(int(edge) for edge in window) != (0, 0, height, width):
        return 1
    room = min(height // int(size[0]), width // int(size[1]))
    return max(ratio for ratio in (1, 2, 4, 8) if ratio == 1 or ratio <= room)
