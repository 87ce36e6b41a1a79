"""Prediction files in several formats, read and written as streams of `ImagePredictions`.

A format is a module with `read(file, options) -> Iterator[ImagePredictions]` and `write(file, parts) -> boxes`. An
image may occur in several parts, in file order and not sorted by score; `gather` merges them. Readers check the
structure of a file; `evaluation.checks` checks the boxes. The level of a box is kept if the format can store it. Boxes
from files without levels have level 0, which means unknown.

| suffix | what | memory |
|---|---|---|
| `.json` | COCO results; every digit kept; key `level` where it is known | streams both ways |
| `.csv` | one row a box, columns image_id, category_id, x, y, width, height, score, level | streams both ways |
| `.parquet` | one row a box, columns image_id, category_id, x, y, width, height, score, level | streams both ways |
| `.npz` | image_ids, starts, xywh, scores, categories, levels | 56 bytes a box |
| `.pkl` | Detectron2's proposal file: ids, boxes (float32), objectness_logits, bbox_mode; no levels | the whole file |
| `.mat` | MATLAB `aboxes` of Faster R-CNN and of this paper's released code; no levels | the whole file |
"""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, ImagePredictions, Predictions, gather
from zip_keras.predictions.formats.common import ReadOptions

__all__ = [
    "SUFFIXES",
    "ReadOptions",
    "check_ids",
    "format_of",
    "read_predictions",
    "stream_predictions",
    "write_predictions",
]

SUFFIXES = {
    ".json": "coco_results",
    ".csv": "csv",
    ".npz": "npz",
    ".parquet": "parquet",
    ".pkl": "detectron2",
    ".mat": "matlab",
}


def format_of(file: str) -> str:
    """The name of the format of a file, by its suffix.

    Raises:
        UserError: unknown suffix.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{file}: unknown kind of proposal file {suffix!r}; use one of {', '.join(SUFFIXES)}")
    return SUFFIXES[suffix]


def stream_predictions(file: str, options: ReadOptions | None = None) -> Iterator[ImagePredictions]:
    """Read the parts of a prediction file one by one.

    Raises:
        UserError: the file is missing, of unknown format or broken, or the options do not allow reading it.
    """
    name = format_of(file)
    if not Path(file).is_file():
        raise UserError(f"{file}: no such file")
    return _module(name).read(file, options or ReadOptions())


def read_predictions(file: str, options: ReadOptions | None = None) -> Predictions:
    """Read a whole prediction file; `checks.load_predictions` also checks it against the ground truth.

    Raises:
        UserError: as `stream_predictions`.
    """
    return gather(stream_predictions(file, options), name=str(file))


def write_predictions(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Write a stream of predictions; the file is created atomically when it is complete.

    Args:
        file: output path; its suffix selects the format.
        parts: a `Predictions`, or a generator of images.

    Returns:
        The number of boxes written.

    Raises:
        UserError: unknown suffix, the folder cannot be written, or the format cannot store these image ids.
        ValueError: a box or score is not finite.
    """
    return _module(format_of(file)).write(file, parts)


def check_ids(file: str, ids: Iterable[ImageId]) -> None:
    """Check before inference whether the format of a file can store these image ids.

    Raises:
        UserError: unknown suffix, or the format cannot store these image ids.
    """
    if (name := format_of(file)) in ("parquet", "csv"):
        _module(name).check_ids(file, ids)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"zip_keras.predictions.formats.{name}")
