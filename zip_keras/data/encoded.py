"""Encoded images (JPEG, PNG, ...): fetching them from their own file or out of a TFRecord shard, what can be wrong.

No TensorFlow: both executors use it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zip_keras.data.tfrecord.container import decode_example, read_payload
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_bytes

IMAGE_KEY = "image/encoded"
MAX_BYTES = 256 * 1024 * 1024  # of an image file


def read_encoded(file: str, offset: int, length: int) -> bytes:
    """The encoded image of an `ImageRecord` with these `file`, `offset` and `length`.

    Raises:
        UserError: the file is missing or cut short, or the shard's example holds no image.
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
    """How messages name the image."""
    return file if length < 0 else f"{file} (example at byte {offset})"


def undecodable(shown: str, reason: object) -> UserError:
    """The error for bytes that no decoder takes."""
    first_line = next(iter(str(reason).splitlines()), "unknown format")
    return UserError(
        f"{shown}: does not decode ({first_line}); replace it, or let prepare_data leave it out with its policy skip"
    )


def check_size(shown: str, decoded: Sequence[int], original: np.ndarray | tuple[int, int], ratio: int) -> None:
    """Raises `UserError` unless the decoded image, `ratio` times reduced, has its annotated height and width."""
    height, width = (int(side) for side in original)
    if tuple(decoded[:2]) != (-(-height // ratio), -(-width // ratio)):
        raise UserError(
            f"{shown}: is {decoded[1] * ratio} x {decoded[0] * ratio} pixels, annotated as {width} x {height} "
            f"(width x height); run prepare_data to find such images"
        )


def jpeg_reduction(
    original: np.ndarray | tuple[int, int], window: Sequence[int] | np.ndarray, size: np.ndarray | tuple[int, int]
) -> int:
    """The factor, 1, 2, 4 or 8, by which a JPEG decoder may shrink an image of which `window` becomes `size`.

    The largest that leaves both sides at least as long as `size`, and 1 for a part of the image: a window's edges
    need not fall on reduced pixels.
    """
    height, width = (int(side) for side in original)
    if tuple(int(edge) for edge in window) != (0, 0, height, width):
        return 1
    room = min(height // int(size[0]), width // int(size[1]))
    return max(ratio for ratio in (1, 2, 4, 8) if ratio == 1 or ratio <= room)
