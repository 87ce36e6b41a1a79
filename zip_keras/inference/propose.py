"""`zip_keras.propose` and `zip_keras.draw`: images in any form to boxes and pictures, for notebooks and scripts."""

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zip_keras.errors import UserError
from zip_keras.inference.boxes import Boxes
from zip_keras.inference.images import ImageLike, as_rgb, images_of
from zip_keras.inference.model_files import find_model
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runner import InferenceRunner
from zip_keras.models.proposer import Proposer
from zip_keras.plots.boxes import draw_boxes
from zip_keras.plots.selection import SHOWN_COUNT, SHOWN_IOU, SHOWN_SHARE, select_for_display

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT_RUNNERS = 4  # models that stay loaded, the last used ones


def propose(
    model: Proposer | str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    max_proposals: int | None = None,
    options: InferenceOptions | None = None,
) -> list[Boxes]:
    """Predicts class-agnostic boxes for one or more images.

    The last four models stay loaded, so that repeated calls are fast; a model whose files changed is loaded again.

    Args:
        model: a `Proposer`, or the name or path of one: a preset, a run folder, a `.keras` file, an export.
        images: a path, a Pillow image, a uint8 array `[H, W, 3]` (RGB), or a list of them; sizes may differ. Grayscale
            and transparent files and Pillow images become RGB; EXIF orientation is not applied.
        max_proposals: boxes an image at most; the model's own limit by default.
        options: scales, flip, NMS thresholds and so on; as trained by default.

    Returns:
        One `Boxes` for each image: `boxes` float32 `[n, 4]` (y1, x1, y2, x2 in pixels of that image), `scores` float32
        `[n]` in descending order, `levels` int32 `[n]` (1, 2, 3 for strides 8, 16, 32).

    Raises:
        UserError: no such model, an image cannot be read, an array is not uint8 `[H, W, 3]`, or the options do not fit
            the model; the message says what it is.

    >>> import zip_keras
    >>> from zip_keras.data.synthetic import render_scene  # any uint8 [H, W, 3] array, a path or a Pillow image does
    >>> image = render_scene(seed=0, index=5).image
    >>> [found] = zip_keras.propose(zip_keras.DEFAULT_PRESET, image, max_proposals=50)
    >>> found.boxes.shape, found.scores.shape, found.levels.shape
    ((50, 4), (50,), (50,))
    >>> bool((found.boxes[:, 2:] <= image.shape[:2]).all())  # y2 and x2 lie in the image
    True
    """
    if max_proposals is not None:
        options = dataclasses.replace(options or InferenceOptions(), max_proposals=max_proposals)
    given = images_of(images)
    pixels = (as_rgb(image, "image" if len(given) == 1 else f"images[{i}]") for i, image in enumerate(given))
    runner = _RUNNERS.get(model, options or InferenceOptions())
    limit = None if options is None else options.max_proposals
    return [runner(image).head(limit) for image in pixels]


def draw(
    image: ImageLike,
    found: Boxes,
    file: str | Path | None = None,
    *,
    count: int = SHOWN_COUNT,
    iou: float = SHOWN_IOU,
    share: float = SHOWN_SHARE,
    scores: bool = False,
) -> "Image":
    """Draws the best boxes on their image, coloured by level, with a legend below. Needs Pillow.

    Args:
        image: as in `propose`, one image.
        found: its boxes.
        file: where the picture is saved; the suffix names the format (`.jpg`, `.png`, ...).
        count: boxes drawn at most.
        iou: no two drawn boxes overlap by more; 1 draws near-duplicates too.
        share: boxes are drawn that have at least this share of the best score; 0 draws any.
        scores: whether each box's score is written into it.

    Returns:
        the picture, which a notebook shows.

    Raises:
        UserError: the image is none, Pillow is missing, or the file cannot be written.

    >>> import zip_keras, numpy as np
    >>> from zip_keras.inference.boxes import Boxes
    >>> image = np.full((120, 160, 3), 200, np.uint8)
    >>> found = Boxes(np.float32([[10, 20, 90, 140]]), np.float32([0.9]), np.int32([3]))
    >>> picture = zip_keras.draw(image, found)  # zip_keras.draw(image, found, "found.png") saves it too
    >>> picture.width, picture.getpixel((20, 50))
    (160, (60, 200, 60))
    """
    shown = found.take(select_for_display(found.boxes, found.scores, count, iou, share))
    picture = draw_boxes(as_rgb(image), shown.boxes, levels=shown.levels, scores=shown.scores if scores else None)
    if file is not None:
        try:
            picture.save(file, quality=90)  # of JPEG; other formats ignore it
        except (OSError, ValueError) as error:  # ValueError: a suffix that Pillow does not know
            raise UserError(f"{file}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return picture


class _Runners:
    """The runners of the last models, by model, files and options."""

    def __init__(self, kept: int):
        self._kept, self._lock = kept, threading.Lock()
        self._runners: OrderedDict[Hashable, InferenceRunner] = OrderedDict()

    def get(self, model: Proposer | str | Path, options: InferenceOptions) -> InferenceRunner:
        """A runner that lists at least `options.max_proposals`; a shorter list needs no model of its own."""
        own = self._get(model, dataclasses.replace(options, max_proposals=None))
        return own if (options.max_proposals or 0) <= own.output_size else self._get(model, options)

    def _get(self, model: Proposer | str | Path, options: InferenceOptions) -> InferenceRunner:
        found: Proposer | Path = model if isinstance(model, Proposer) else find_model(model).resolve()
        key = (found, None if isinstance(found, Proposer) else _stamp(found), repr(options))
        with self._lock:
            runner = self._runners.pop(key, None) or InferenceRunner(found, options)
            self._runners[key] = runner
            while len(self._runners) > self._kept:
                self._runners.popitem(last=False)
        return runner


def _stamp(path: Path) -> tuple:
    """Changes when a model is written again under its name."""
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


_RUNNERS = _Runners(KEPT_RUNNERS)
