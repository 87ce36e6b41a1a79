"""What the formats share: options of reading, checks before writing."""

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
    """What some formats need to be told.

    Attributes:
        allow_pickle: read `.pkl` files; still nothing but numbers, texts, lists, dicts and NumPy arrays is built.
        image_ids: ids of a `.mat` file's cells, which carries none itself; see `read_image_list`.
        pixels: what a `.mat` file's coordinates count, to be chosen as for the annotations; see `open_dataset`.
    """

    allow_pickle: bool = False
    image_ids: tuple[ImageId, ...] | None = None
    pixels: PixelConvention = "continuous"


def read_image_list(file: str) -> tuple[ImageId, ...]:
    """Image ids of a text list, one image a line (`000005`, `000005.jpg` or `000005 1`), as `image_id_of` gives them.

    Raises:
        UserError: the list is missing or empty.
    """
    ids = tuple(image_id_of(line.split()[0]) for line in read_lines(file) if line.strip())
    if not ids:
        raise UserError(f"{file}: the list of images is empty")
    return ids


def refuse_not_finite(part: ImagePredictions) -> None:
    """Raises ValueError where a box or score is NaN or infinite: json has no such numbers."""
    if not (np.isfinite(part.xywh).all() and np.isfinite(part.scores).all()):
        raise ValueError(f"image {part.image_id!r}: a box or score is not finite")


def by_image(ids: Sequence[ImageId]) -> Iterator[tuple[ImageId, np.ndarray]]:
    """Each id once, in the order of its first row, with the numbers of its rows."""
    if not ids:
        return
    number: dict[ImageId, int] = {}
    image_of = np.array([number.setdefault(image_id, len(number)) for image_id in ids], np.int64)
    order = np.argsort(image_of, kind="stable")
    bounds = np.searchsorted(image_of[order], np.arange(1, len(number)))
    yield from zip(number, np.split(order, bounds), strict=True)
