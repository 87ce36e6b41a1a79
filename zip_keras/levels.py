"""The three levels of the method, fine to coarse: numbers, strides and anchor shapes. NumPy only, no Keras."""

from collections.abc import Sequence

import numpy as np

LEVELS = (1, 2, 3)
STRIDES = (8, 16, 32)  # pixels between the cells of F1, F2, F3


def anchor_shapes(scales: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Heights and widths of a cell's anchors.

    Args:
        scales: square roots of areas, pixels.
        ratios: height / width; 0.25 is four times as wide as high.

    Returns:
        float32 `[len(scales) * len(ratios), 2]`, (height, width) in pixels, scale by scale.
    """
    shapes = [(scale * ratio**0.5, scale / ratio**0.5) for scale in scales for ratio in ratios]
    return np.asarray(shapes, "float32").reshape(-1, 2)
