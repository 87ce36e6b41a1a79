"""`zip_keras.detect`: detection for notebooks and scripts."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from zip_keras.inference.boxes import Detections
from zip_keras.inference.detectors import DetectionOptions, open_detector
from zip_keras.inference.images import ImageLike, named_pixels
from zip_keras.inference.kept import KeptModels
from zip_keras.models.detector import Detector


def detect(
    model: Detector | str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    max_detections: int | None = None,
    score_threshold: float | None = None,
    short_sides: Sequence[int] | None = None,
    long_side: int | None = None,
    flip: bool | None = None,
) -> list[Detections]:
    """Detect and classify objects in one or more images.

    The four most recently used models stay loaded, so repeated calls are fast. A model is reloaded when its files
    change.

    Args:
        model: a `Detector`, or the name or path of one: a preset, a run folder, a `.keras` file, an export.
        images: as in `propose`: a path, a Pillow image, a uint8 array `[H, W, 3]` (RGB), or a list of them.
        max_detections: maximum number of boxes per image; default: the model's own limit.
        score_threshold: boxes with a lower score are dropped; default: the model's own threshold.
        short_sides: image scales, as the short side in pixels; default: as trained.
        long_side: maximum of the longer side in pixels at every scale.
        flip: flip test-time augmentation.

    Returns:
        One `Detections` for each image: `boxes` float32 `[n, 4]` (y1, x1, y2, x2 in pixels of that image), `scores`
        float32 `[n]` in descending order, `classes` int32 `[n]`, `names`, and `levels` int32 `[n]`.

    Raises:
        UserError: the model does not exist or is no detector, an image cannot be read, an array is not uint8
            `[H, W, 3]`, or an option has an invalid value. The message states the reason.

    >>> import zip_keras
    >>> from zip_keras.data.synthetic import render_scene  # any uint8 [H, W, 3] array, a path or a Pillow image does
    >>> image = render_scene(seed=0, index=5).image
    >>> config = zip_keras.ModelConfig(width=0.125, zoom_in="released", head_channels=16)
    >>> network = zip_keras.OneStageNetwork(config, class_names=("cat", "dog"))  # random; else the path of a run
    >>> detector = zip_keras.Detector(network, short_sides=64)
    >>> [found] = zip_keras.detect(detector, image, max_detections=5, score_threshold=0)
    >>> found.boxes.shape, found.scores.shape, set(found.names) <= {"cat", "dog"}
    ((5, 4), (5,), True)
    """
    sides = None if short_sides is None else tuple(short_sides)
    options = DetectionOptions(max_detections, score_threshold, sides, long_side, flip)

    def make(found: Detector | Path) -> Callable[[np.ndarray], Detections]:
        run = open_detector(found, options)

        def runner(image: np.ndarray) -> Detections:
            one = run(image)
            return Detections(one["boxes"], one["scores"], one["levels"], one["classes"], run.class_names)

        return runner

    runner = _RUNNERS.get(model, options, make)
    return [runner(image) for image in named_pixels(images)]


_RUNNERS: KeptModels[Detector, Callable[[np.ndarray], Detections]] = KeptModels()
