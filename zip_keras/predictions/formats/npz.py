"""NumPy archive: `image_ids [I]`, `starts [I + 1]`, `xywh [n, 4]`, `scores [n]`, `categories [n]`, `levels [n]`.

The boxes of image `i` are rows `starts[i] : starts[i + 1]`. Boxes and scores are doubles, so metrics do not change by
conversion. Files without `levels` are read too. If some ids are integers and some strings, `image_ids` are all strings
and `integer_ids`, bool `[I]`, marks the integers.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, ImagePredictions, gather
from zip_keras.predictions.formats.common import ReadOptions, refuse_not_finite
from zip_keras.utils.archives import Npz, open_zip
from zip_keras.utils.files import atomic_write

_ARRAYS = ("image_ids", "starts", "xywh", "scores", "categories")
_COLUMNS = ("xywh", "scores", "categories", "levels")
_KINDS = {"image_ids": "iuU", "starts": "iu", "xywh": "fiu", "scores": "fiu", "categories": "iu", "levels": "iu",
          "integer_ids": "b"}  # fmt: skip


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """Yield one part per image.

    Raises:
        UserError: not an npz file, or its arrays are inconsistent.
    """
    with open_zip(file, "an npz file of proposals") as archive:
        npz = Npz(archive)
        missing = [name for name in _ARRAYS if name not in npz.headers]
        if missing:
            raise UserError(f"{file}: has no array '{missing[0]}'; it needs {', '.join(_ARRAYS)}")
        _check_headers(npz, file)
        starts = npz.read("starts").astype(np.int64)
        boxes = npz.headers["scores"].shape[0]
        if starts[0] != 0 or starts[-1] != boxes or (np.diff(starts) < 0).any():
            raise UserError(
                f"{file}: arrays do not fit together: starts must run from 0 to the number of boxes, {boxes}"
            )
        names = [name for name in _COLUMNS if name in npz.headers]
        with npz.rows(*names) as next_rows:
            for image_id, count in zip(_ids(npz), np.diff(starts).tolist(), strict=True):
                xywh, scores, *integers = next_rows(count)
                categories, levels = (_integers(column, file) for column in (*integers, np.zeros(count, np.int64))[:2])
                if levels.min(initial=0) < 0:
                    raise UserError(f"{file}: array 'levels' must hold integers from 0 (not known)")
                yield ImagePredictions(image_id, xywh.astype(np.float64), scores.astype(np.float64), categories, levels)


def _check_headers(npz: Npz, file: str) -> None:
    shapes = {name: header.shape for name, header in npz.headers.items()}
    images, boxes = shapes["image_ids"], shapes["scores"]
    expected = {"image_ids": 1, "starts": 1, "xywh": 2, "scores": 1, "categories": 1, "levels": 1, "integer_ids": 1}
    fits = all(len(shape) == expected.get(name, len(shape)) for name, shape in shapes.items())
    fits = fits and shapes["xywh"] == (*boxes, 4) and shapes["categories"] == shapes.get("levels", boxes) == boxes
    fits = fits and shapes["starts"] == (images[0] + 1,) and shapes.get("integer_ids", images) == images
    if not fits:
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise UserError(f"{file}: arrays do not fit together: {shown}")
    for name, kinds in _KINDS.items():
        if name in npz.headers and npz.headers[name].dtype.kind not in kinds:
            what = {"iu": "integers", "b": "true and false"}.get(
                kinds, "numbers" if "f" in kinds else "integers or texts"
            )
            raise UserError(f"{file}: array '{name}' must hold {what}, not {npz.headers[name].dtype}")


def _ids(npz: Npz) -> list[ImageId]:
    ids = npz.read("image_ids").tolist()
    "".join(image_id for image_id in ids if isinstance(image_id, str)).encode()  # raises for unpaired surrogates
    if "integer_ids" not in npz.headers:
        return ids
    return [int(name) if integer else name for name, integer in zip(ids, npz.read("integer_ids").tolist(), strict=True)]


def _integers(column: np.ndarray, file: str) -> np.ndarray:
    if column.dtype.kind == "u" and column.size and column.max() > np.iinfo(np.int64).max:
        raise UserError(f"{file}: an integer beyond 64 bits")
    return column.astype(np.int64)


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Collect all parts, write them and return the number of boxes."""
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
