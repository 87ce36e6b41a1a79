"""Options and checks shared by all formats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.data.annotations import PixelConvention
from zip_keras.data.formats.files import read_lines
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, ImagePredictions


@dataclass(frozen=True)
class ReadOptions:
    """Options that some formats need.

    Attributes:
        allow_pickle: read `.pkl` files; only numbers, strings, lists, dicts and NumPy arrays are created.
        image_ids: ids of the cells of a `.mat` file without ids; see `read_image_list`.
        pixels: meaning of the coordinates of a `.mat` file, the same as for the annotations; see `open_dataset`.
    """

    allow_pickle: bool = False
    image_ids: tuple[ImageId, ...] | None = None
    pixels: PixelConvention = "continuous"


def read_image_list(file: str) -> tuple[ImageId, ...]:
    """Image ids (see `image_id_of`) of a text file with one image per line: `000005`, `000005.jpg` or `000005 1`.

    Raises:
        UserError: the list is missing or empty.
    """
    ids = tuple(image_id_of(line.split()[0]) for line in read_lines(file) if line.strip())
    if not ids:
        raise UserError(f"{file}: the list of images is empty")
    return ids


def refuse_not_finite(part: ImagePredictions) -> None:
    """Raise `ValueError` if a box or score is NaN or infinite, which JSON cannot represent."""
    if not (np.isfinite(part.xywh).all() and np.isfinite(part.scores).all()):
        raise ValueError(f"image {part.image_id!r}: a box or score is not finite")


def by_image(ids: Sequence[ImageId]) -> Iterator[tuple[ImageId, np.ndarray]]:
    """Yield each id once, in the order of its first row, with its row indices."""
    if not ids:
        return
    number: dict[ImageId, int] = {}
    image_of = np.array([number.setdefault(image_id, len(number)) for image_id in ids], np.int64)
    order = np.argsort(image_of, kind="stable")
    bounds = np.searchsorted(image_of[order], np.arange(1, len(number)))
    yield from zip(number, np.split(order, bounds), strict=True)
