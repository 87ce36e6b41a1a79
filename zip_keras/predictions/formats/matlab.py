"""MATLAB `aboxes`: a cell array with one `[n, 5]` matrix `[x1 y1 x2 y2 score]` per image, in VOC coordinates.

Coordinates are read like those of VOC annotations, so a box with the numbers of an object matches it exactly: by
default as edges; with `pixels="one_based"` as inclusive pixel numbers that start at 1, which span x1 - 1 .. x2. They
are written as edges.

The MATLAB code of Faster R-CNN and the released code of the paper save proposals in this format, in the order of the
dataset's image list and without ids. Files written here also contain `image_ids`. Without a fifth column, the order of
the rows is the ranking. The format cannot store levels.
"""

import pickle
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, ImagePredictions, gather
from zip_keras.predictions.formats.common import ReadOptions, refuse_not_finite
from zip_keras.utils.files import atomic_write
from zip_keras.utils.optional import optional_import

_LOAD = """
import pickle, sys
from scipy.io import loadmat
try:
    answer = "", loadmat(sys.argv[1], variable_names=["aboxes", "image_ids"])
except Exception as error:
    answer = type(error).__name__, str(error)
pickle.dump(answer, sys.stdout.buffer)
"""


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """Yield one part per image.

    Raises:
        UserError: SciPy is missing, not a MATLAB file, no `aboxes` in it, or the ids of its images are unknown.
    """
    optional_import("scipy.io", file, "interchange")
    content = _load(file)
    cells = content.get("aboxes")
    if cells is None or cells.dtype != object:
        raise UserError(f"{file}: has no cell array 'aboxes'")
    cells = cells.reshape(-1)
    for position, (image_id, cell) in enumerate(zip(_ids(content, len(cells), options, file), cells, strict=True)):
        matrix = np.asarray(cell)
        if matrix.size == 0:
            matrix = np.zeros((0, 5))
        if matrix.ndim != 2 or matrix.shape[1] not in (4, 5) or matrix.dtype.kind not in "iuf":
            raise UserError(f"{file}: aboxes{{{position + 1}}} is {matrix.shape}, not [n, 5] numbers x1 y1 x2 y2 score")
        matrix = matrix.astype(np.float64)
        first, last = matrix[:, :2] - (options.pixels == "one_based"), matrix[:, 2:4]
        scores = matrix[:, 4] if matrix.shape[1] == 5 else -np.arange(len(matrix), dtype=np.float64)
        xywh = np.concatenate([first, last - first], axis=1)
        count = len(scores)
        yield ImagePredictions(image_id, xywh, scores, np.ones(count, np.int64), np.zeros(count, np.int64))


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Write `aboxes` as doubles and the ids, strings or integers, as `image_ids`; return the number of boxes."""
    io = optional_import("scipy.io", file, "interchange")
    proposals = gather(parts, file)
    cells = np.empty((len(proposals), 1), object)
    ids = np.empty((len(proposals), 1), object)
    for position, image in enumerate(proposals):
        refuse_not_finite(image)
        first, last = image.xywh[:, :2], image.xywh[:, :2] + image.xywh[:, 2:]
        cells[position, 0] = np.concatenate([first, last, image.scores[:, None]], axis=1)
        ids[position, 0] = image.image_id if isinstance(image.image_id, str) else np.int64(image.image_id)
    with atomic_write(file) as unfinished, open(unfinished, "wb") as stream:
        io.savemat(stream, {"aboxes": cells, "image_ids": ids}, do_compression=True)
    return proposals.count


def _load(file: str) -> dict[str, Any]:
    """Load the two variables in a subprocess, because SciPy's compiled reader crashes on some damaged files."""
    child = subprocess.run([sys.executable, "-c", _LOAD, file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if child.returncode != 0:
        raise UserError(f"{file}: not a MATLAB file: reading it ended with code {child.returncode}")
    kind, content = pickle.loads(child.stdout)
    if kind == "NotImplementedError":
        raise UserError(f"{file}: saved with -v7.3; save it with -v7 in MATLAB")
    if kind:
        raise UserError(f"{file}: not a MATLAB file: {content}")
    return content


def _ids(content: dict[str, Any], images: int, options: ReadOptions, file: str) -> list[ImageId]:
    ids: list[ImageId]
    if options.image_ids is not None:
        ids = list(options.image_ids)
    elif "image_ids" in content:
        ids = [_id(value, position, file) for position, value in enumerate(np.ravel(content["image_ids"]), start=1)]
    else:
        raise UserError(f"{file}: aboxes have no image ids; name the images in the same order with --image-list FILE")
    if len(ids) != images:
        raise UserError(
            f"{file}: {images} images in aboxes but {len(ids)} in the list of images; they must be the same"
        )
    return ids


def _id(cell: Any, position: int, file: str) -> ImageId:
    values = np.ravel(cell)
    value = values[0] if len(values) == 1 else None
    if isinstance(value, str):
        return str(value)
    if (
        isinstance(value, np.integer | np.floating)
        and np.isfinite(value)
        and value == int(value)
        and abs(value) < 2**63
    ):
        return int(value)
    raise UserError(f"{file}: image_ids{{{position}}} is neither one whole number nor one text")
