"""Proposal baselines without training.

Selective Search needs OpenCV's contrib modules (the extra `baselines`). The other methods need no extra.
"""

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import partial

import numpy as np

from zip_keras.errors import UserError

Proposer = Callable[[np.ndarray], np.ndarray]
"""uint8 `[H, W, 3]` RGB -> float32 `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first."""

_SPACING = 0.35  # step between windows as a fraction of their side: neighbours have IoU .48
_RATIOS = (0.5, 1.0, 2.0)  # height / width
_SMALLEST = 12.0  # side of the smallest window, in pixels


def selective_search(image: np.ndarray, mode: str = "fast", longest_side: int = 500) -> np.ndarray:
    """Run OpenCV's Selective Search (Uijlings et al., IJCV 2013) and keep its ranking.

    The ranking uses random numbers of the C library. They are seeded for every image, so the result does not depend on
    earlier images.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        mode: `fast` or `quality`, the names of the paper's two settings.
        longest_side: larger images are downscaled to it, as is usual for this method. Boxes are in original pixels.

    Raises:
        UserError: the installed OpenCV has no Selective Search.
    """
    cv2 = _contrib()
    height, width = image.shape[:2]
    scale = min(1.0, longest_side / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[:, :, ::-1]))  # BGR
    {"fast": search.switchToSelectiveSearchFast, "quality": search.switchToSelectiveSearchQuality}[mode]()
    ctypes.CDLL(ctypes.util.find_library("c")).srand(1)
    x, y, w, h = search.process().astype(np.float32).T
    stretch = np.array([height, width] * 2, np.float32) / np.array([*image.shape[:2]] * 2, np.float32)
    return np.stack([y, x, y + h, x + w], axis=1) * stretch


def sliding_windows(image: np.ndarray, count: int = 1000, seed: int = 0) -> np.ndarray:
    """Windows of three aspect ratios on a regular grid, from the whole image down, shuffled within each size.

    The spacing is proportional to the window, so halving the side gives four times as many windows. A small budget
    therefore covers large objects first.
    """
    height, width = image.shape[:2]
    rng = np.random.default_rng(seed)
    boxes, found, side = [np.array([[0, 0, height, width]], np.float32)], 1, float(max(height, width))
    while found < count and side >= _SMALLEST:
        size = np.concatenate([_grid(height, width, side * r**0.5, side / r**0.5) for r in _RATIOS])
        boxes.append(rng.permutation(size))
        found += len(size)
        side /= 2**0.5
    return np.concatenate(boxes)[:count]


def random_anchors(image: np.ndarray, count: int = 1000, seed: int = 0) -> np.ndarray:
    """The network's 30 anchors on their grids, clipped and shuffled, like the output of an untrained network."""
    from zip_keras.config import AnchorConfig
    from zip_keras.ops.anchors import anchors_of_image

    height, width = image.shape[:2]
    anchors = np.concatenate([np.asarray(level) for level in anchors_of_image(height, width, AnchorConfig())])
    anchors = np.clip(anchors, 0, np.array([height, width] * 2, np.float32))
    anchors = anchors[((anchors[:, 2:] - anchors[:, :2]) > 1).all(axis=1)]
    return np.random.default_rng(seed).permutation(anchors)[:count]


METHODS: dict[str, Proposer] = {
    "selective-search-fast": partial(selective_search, mode="fast"),
    "selective-search-quality": partial(selective_search, mode="quality"),
    "sliding-windows": sliding_windows,
    "random-anchors": random_anchors,
}


def scores_of(count: int) -> np.ndarray:
    """Scores 1, 1/2, 1/3, ... for methods that only rank: float64 `[count]`."""
    return 1.0 / np.arange(1, count + 1)


def _grid(height: float, width: float, window_height: float, window_width: float) -> np.ndarray:
    """Windows of one size, spread evenly from edge to edge of the image; empty if the window does not fit."""
    if window_height > height or window_width > width:
        return np.zeros((0, 4), np.float32)
    starts = []
    for length, window in ((height, window_height), (width, window_width)):
        steps = int(np.ceil((length - window) / (_SPACING * window)))
        starts.append(np.linspace(0, length - window, steps + 1) if steps else np.array([(length - window) / 2]))
    y, x = (axis.ravel() for axis in np.meshgrid(*starts, indexing="ij"))
    return np.stack([y, x, y + window_height, x + window_width], axis=1).astype(np.float32)


def _contrib():
    """Import OpenCV with its contrib modules, limited to one thread: `zip-keras baseline` runs one process per core.

    `opencv-python-headless`, a dependency of tf-models-official, installs into the same `cv2` folder as the contrib
    package. The package installed last wins; contrib is a superset of the other.
    """
    try:
        import cv2

        cv2.ximgproc.segmentation.createSelectiveSearchSegmentation  # noqa: B018 (leftover folders look like modules)
    except (ImportError, AttributeError):
        raise UserError(
            "Selective Search needs OpenCV's contrib modules, and this OpenCV has none: "
            "pip install --force-reinstall --no-deps opencv-contrib-python-headless (it replaces the plain package's "
            "files and holds everything they do)"
        ) from None
    cv2.setNumThreads(1)
    return cv2
