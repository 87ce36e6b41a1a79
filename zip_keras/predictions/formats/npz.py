"""NumPy archive: `image_ids [I]`, `starts [I + 1]`, `xywh [n, 4]`, `scores [n]`, `categories [n]`, `levels [n]`.

The boxes of image `i` are rows `starts[i] : starts[i + 1]`; doubles, so that measures do not change by conversion.
A file without `levels` is read too. Where some ids are integers and some texts, `image_ids` are all texts and
`integer_ids`, bool `[I]`, says which are integers.
"""

import zipfile
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImagePredictions, gather
from zip_keras.predictions.formats.common import ReadOptions, refuse_not_finite
from zip_keras.utils.files import atomic_write

_ARRAYS = ("image_ids", "starts", "xywh", "scores", "categories")


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """One part an image.

    Raises:
        UserError: not an npz file, or its arrays do not fit together.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            missing = [name for name in _ARRAYS if name not in archive]
            if missing:
                raise UserError(f"{file}: has no array '{missing[0]}'; it needs {', '.join(_ARRAYS)}")
            ids, starts, xywh, scores, categories = (archive[name] for name in _ARRAYS)
            levels = archive["levels"] if "levels" in archive else np.zeros(len(scores), np.int64)
            integers = archive["integer_ids"] if "integer_ids" in archive else np.zeros(len(ids), bool)
            names = [int(name) if integer else name for name, integer in zip(ids.tolist(), integers, strict=True)]
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{file}: not an npz file of proposals: {error}") from None
    n = len(scores)
    fits = xywh.shape == (n, 4) and scores.shape == categories.shape == levels.shape == (n,)
    fits = fits and starts.shape == (len(ids) + 1,)
    kinds = ids.dtype.kind in "iuU" and starts.dtype.kind in "iu" and {xywh.dtype.kind, scores.dtype.kind} <= set("fiu")
    if not fits or not kinds or starts[0] != 0 or starts[-1] != n or (np.diff(starts.astype(np.int64)) < 0).any():
        shapes = ", ".join(
            f"{k} {v.shape}"
            for k, v in zip((*_ARRAYS, "levels"), (ids, starts, xywh, scores, categories, levels), strict=True)
        )
        raise UserError(f"{file}: arrays do not fit together: {shapes}; starts must run from 0 to the number of boxes")
    if levels.dtype.kind not in "iu" or levels.min(initial=0) < 0:
        raise UserError(f"{file}: array 'levels' must hold integers from 0 (not known), not {levels.dtype}")
    columns = (xywh.astype(np.float64), scores.astype(np.float64), categories.astype(np.int64), levels.astype(np.int64))
    for image_id, first, last in zip(names, starts[:-1], starts[1:], strict=True):
        rows = slice(int(first), int(last))
        yield ImagePredictions(image_id, *(column[rows] for column in columns))


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Collects everything first: the arrays' lengths come at the head of the file."""
    proposals = gather(parts, file)
    images = list(proposals)
    for image in images:
        refuse_not_finite(image)
    integers = np.array([isinstance(image_id, int) for image_id in proposals.image_ids], bool)
    arrays = {
        "image_ids": np.array(proposals.image_ids, np.int64 if integers.all() else str),
        "starts": np.cumsum([0, *map(len, images)]),
        "xywh": np.concatenate([np.zeros((0, 4)), *(image.xywh for image in images)]),
        "scores": np.concatenate([np.zeros(0), *(image.scores for image in images)]),
        "categories": np.concatenate([np.zeros(0, np.int64), *(image.categories for image in images)]),
        "levels": np.concatenate([np.zeros(0, np.int64), *(image.levels for image in images)]),
    }
    if integers.any() and not integers.all():
        arrays["integer_ids"] = integers
    with atomic_write(file) as unfinished, open(unfinished, "wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return proposals.count
