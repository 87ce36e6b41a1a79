"""Proposals without training: what a network has to beat.

Selective Search needs OpenCV's contrib modules (the extra `baselines`); the windows and anchors need nothing.
"""

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import partial

import numpy as np

from zip_keras.errors import UserError

Proposer = Callable[[np.ndarray], np.ndarray]
"""uint8 `[H, W, 3]` RGB -> float32 `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first."""

_SPACING = 0.35  # of a window's side from one window to the next: neighbours overlap by IoU .48
_RATIOS = (0.5, 1.0, 2.0)  # height / width
_SMALLEST = 12.0  # pixels: the smallest window's side


def selective_search(image: np.ndarray, mode: str = "fast", longest_side: int = 500) -> np.ndarray:
    """Selective Search (Uijlings et al., IJCV 2013) by OpenCV; its own order is the ranking.

    The order holds random numbers of the C library, which are seeded for every image: an image's answer does not depend
    on those before it.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        mode: `fast` or `quality`, the names of the paper's two settings.
        longest_side: larger images are reduced to it, as usual with this method; boxes are in the original's pixels.

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
    """Windows of three shapes on a regular grid, from the whole image down, in random order within a size.

    The spacing grows with the window, so a size has four times the windows of the next larger but one: large objects,
    which fill a photograph, need few windows, and a small budget covers them first.
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
    """The 30 anchors of the network on their grids, clipped, in random order: what an untrained network would say."""
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
    """float64 `[count]`: 1, 1/2, 1/3 ...: scores for methods that only rank."""
    return 1.0 / np.arange(1, count + 1)


def _grid(height: float, width: float, window_height: float, window_width: float) -> np.ndarray:
    """Windows of one size that lie in the image, evenly spread from edge to edge; none when it does not fit."""
    if window_height > height or window_width > width:
        return np.zeros((0, 4), np.float32)
    starts = []
    for length, window in ((height, window_height), (width, window_width)):
        steps = int(np.ceil((length - window) / (_SPACING * window)))
        starts.append(np.linspace(0, length - window, steps + 1) if steps else np.array([(length - window) / 2]))
    y, x = (axis.ravel() for axis in np.meshgrid(*starts, indexing="ij"))
    return np.stack([y, x, y + window_height, x + window_width], axis=1).astype(np.float32)


def _contrib():
    """OpenCV with its contrib modules, on one thread: `zip-keras baseline` runs one process a core.

    `opencv-python-headless`, which tf-models-official brings, writes the same folder `cv2` as the contrib package: the
    one installed last wins, and contrib holds all that the other has.
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
