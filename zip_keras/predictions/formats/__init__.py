"""Proposal files of several kinds, read and written as streams of `ImagePredictions`.

A format is a module with `read(file, options) -> Iterator[ImagePredictions]` and `write(file, parts) -> boxes`. An
image may come in several parts, in the file's order and not yet sorted by score: `gather` puts them together. Readers
check the structure of a file; `evaluation.checks` decides whether its boxes make sense. The level that made a box is
kept where the format has a place for it. Boxes of files without it have level 0, which means unknown.

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
    """The name of the format that a file's suffix stands for.

    Raises:
        UserError: unknown suffix.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{file}: unknown kind of proposal file {suffix!r}; use one of {', '.join(SUFFIXES)}")
    return SUFFIXES[suffix]


def stream_predictions(file: str, options: ReadOptions | None = None) -> Iterator[ImagePredictions]:
    """The parts of a proposal file, one after the other.

    Raises:
        UserError: missing, of unknown kind or broken; or the options do not allow to read it.
    """
    name = format_of(file)
    if not Path(file).is_file():
        raise UserError(f"{file}: no such file")
    return _module(name).read(file, options or ReadOptions())


def read_predictions(file: str, options: ReadOptions | None = None) -> Predictions:
    """A whole proposal file, unchecked; `checks.load_predictions` also checks it against the ground truth.

    Raises:
        UserError: as `stream_predictions`.
    """
    return gather(stream_predictions(file, options), name=str(file))


def write_predictions(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Writes parts as they come; the file appears, complete, at the end.

    Args:
        parts: a `Proposals`, or a generator that makes one image after the other.

    Returns:
        the number of boxes written.

    Raises:
        UserError: unknown suffix, the folder cannot be written, or the format cannot hold these image ids.
        ValueError: a box or score is not finite.
    """
    return _module(format_of(file)).write(file, parts)


def check_ids(file: str, ids: Iterable[ImageId]) -> None:
    """Asks before the work whether a file can hold the proposals of these images.

    Raises:
        UserError: unknown suffix, or the format cannot hold these image ids.
    """
    if (name := format_of(file)) in ("parquet", "csv"):
        _module(name).check_ids(file, ids)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"zip_keras.predictions.formats.{name}")
