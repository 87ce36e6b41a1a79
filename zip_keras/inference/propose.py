"""`zip_keras.propose`: object proposals for notebooks and scripts."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from zip_keras.inference.boxes import Boxes
from zip_keras.inference.images import ImageLike, named_pixels
from zip_keras.inference.kept import KeptModels
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runner import InferenceRunner
from zip_keras.models.proposer import Proposer


def propose(
    model: Proposer | str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    max_proposals: int | None = None,
    options: InferenceOptions | None = None,
) -> list[Boxes]:
    """Predict class-agnostic boxes for one or more images.

    The four most recently used models stay loaded, so repeated calls are fast. A model is reloaded when its files
    change.

    Args:
        model: a `Proposer`, or the name or path of one: a preset, a run folder, a `.keras` file, an export.
        images: a path, a Pillow image, a uint8 array `[H, W, 3]` (RGB), or a list of them; sizes may differ. Grayscale
            and transparent files and Pillow images become RGB; EXIF orientation is not applied.
        max_proposals: maximum number of boxes per image; default: the model's own limit.
        options: scales, flip, NMS thresholds and so on; default: as trained.

    Returns:
        One `Boxes` for each image: `boxes` float32 `[n, 4]` (y1, x1, y2, x2 in pixels of that image), `scores` float32
        `[n]` in descending order, `levels` int32 `[n]` (1, 2, 3 for strides 8, 16, 32).

    Raises:
        UserError: the model does not exist, an image cannot be read, an array is not uint8 `[H, W, 3]`, or the model
            does not support the options. The message states the reason.

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
    runner = _runner(model, options or InferenceOptions())
    limit = None if options is None else options.max_proposals
    return [runner(image).head(limit) for image in named_pixels(images)]


def _runner(model: Proposer | str | Path, options: InferenceOptions) -> InferenceRunner:
    """A cached runner with at least `options.max_proposals` boxes. Shorter lists share the model's own runner."""

    def runner(options: InferenceOptions) -> InferenceRunner:
        return _RUNNERS.get(model, repr(options), lambda found: InferenceRunner(found, options))

    own = runner(dataclasses.replace(options, max_proposals=None))
    return own if (options.max_proposals or 0) <= own.output_size else runner(options)


_RUNNERS: KeptModels[Proposer, InferenceRunner] = KeptModels()
