"""Anchors: the boxes that a level's head scores and regresses. Paper section 4: 10 per cell, 30 in all."""

from collections.abc import Sequence
from itertools import pairwise

from keras import ops

from zip_keras.config import AnchorConfig
from zip_keras.levels import STRIDES, anchor_shapes
from zip_keras.ops import boxes as box_ops


def place_anchors(height, width, stride: int, scales: Sequence[float], ratios: Sequence[float]):
    """Anchors of a map of `height` x `width` cells, centred on the cells.

    Args:
        height, width: cells; Python numbers or integer scalars of a graph.
        stride: pixels from cell to cell; the first centre is at half a stride.

    Returns:
        float32 `[height * width * A, 4]`, pixels, ordered by row, column and anchor. Anchors may leave the image.
    """
    half = ops.convert_to_tensor(anchor_shapes(scales, ratios) / 2)  # [A, 2]
    y = (ops.cast(ops.arange(height), "float32") + 0.5) * stride
    x = (ops.cast(ops.arange(width), "float32") + 0.5) * stride
    y, x = ops.reshape(y, (-1, 1, 1)), ops.reshape(x, (1, -1, 1))
    zeros = ops.zeros_like(y + x)  # [H, W, 1]; broadcasts every side to [H, W, A]
    sides = [y - half[:, 0] + zeros, x - half[:, 1] + zeros, y + half[:, 0] + zeros, x + half[:, 1] + zeros]
    return ops.reshape(ops.stack(sides, axis=-1), (-1, 4))


def level_sizes(height, width):
    """Cells (height, width) of the three levels for a `height` x `width` image that is padded to multiples of 32."""
    coarsest = STRIDES[-1]  # no division of negative numbers: ONNX converters round differently
    rows, columns = (height + coarsest - 1) // coarsest, (width + coarsest - 1) // coarsest
    return [(rows * (coarsest // stride), columns * (coarsest // stride)) for stride in STRIDES]


def anchors_of_image(height, width, config: AnchorConfig):
    """The anchors of each level of `config.levels` for an image of `height` x `width` pixels: float32 `[N_m, 4]`."""
    return [
        place_anchors(rows, columns, stride, scales, config.ratios)
        for (rows, columns), stride, scales in zip(level_sizes(height, width), STRIDES, config.scales, strict=True)
        if scales
    ]


def level_of_boxes(boxes, config: AnchorConfig):
    """The level of `config.levels` whose anchors are nearest in size to each box: `[..., 4]` -> int32 `[...]`.

    The border between two levels is the geometric mean of the largest scale of the finer one and the smallest scale of
    the coarser one.
    """
    side = ops.sqrt(box_ops.area(boxes))
    result = ops.full_like(side, config.levels[0], dtype="int32")
    for level, coarser in pairwise(config.levels):
        border = (max(config.scales[level - 1]) * min(config.scales[coarser - 1])) ** 0.5
        result = ops.where(side >= border, coarser, result)
    return result
