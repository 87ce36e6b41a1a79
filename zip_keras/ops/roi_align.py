"""Pooling of regions of interest (RoIs) from a map: RoIAlign, and the max pooling of the paper.

He et al., "Mask R-CNN", arXiv 1703.06870; the aligned form of Detectron2 and torchvision, with two samples per bin and
axis. `max_pool` is the RoI pooling of Girshick, "Fast R-CNN", arXiv 1504.08083. Gradients reach the map, not the boxes.
"""

import keras
from keras import ops

from zip_keras.ops.converting import conversion_target

SAMPLES = 2  # per bin and axis; RoIAlign takes their mean


def roi_align(features, boxes, stride: float, size: int = 7):
    """Pool each box by the mean of bilinear samples of the map in each bin.

    Equal to torchvision's `roi_align(..., spatial_scale=1 / stride, sampling_ratio=2, aligned=True)`: cell centres are
    at `stride * (i + 1/2)` pixels. Samples up to one cell outside the map take the border value; samples farther
    outside are 0.

    Args:
        features: `[B, H, W, C]`.
        boxes: float32 `[B, R, 4]`, pixels of the image.
        stride: pixels from cell to cell.
        size: bins per side.

    Returns:
        float32 `[B, R, size, size, C]`.
    """
    if keras.backend.backend() == "tensorflow" and conversion_target() is None:
        batch, count = ops.shape(boxes)[:2]
        image_of = ops.repeat(ops.arange(batch, dtype="int32"), count)
        pooled = roi_align_flat(features, ops.reshape(boxes, (-1, 4)), image_of, stride, size)
        return ops.reshape(pooled, (batch, count, size, size, features.shape[-1]))
    return roi_align_by_matrices(features, boxes, stride, size)


def roi_align_flat(features, boxes, image_of, stride: float, size: int = 7):
    """`roi_align` by TensorFlow's crop_and_resize: boxes `[N, 4]` of the images `image_of` int32 `[N]`.

    The map is padded by a copy of its border, which gives the border value up to one cell outside; crop_and_resize
    gives 0 farther outside. It is five times as fast as `roi_align_by_matrices`, but cannot be converted to ONNX or
    LiteRT.

    Returns:
        float32 `[N, size, size, C]`.
    """
    import tensorflow as tf

    height, width = tf.shape(features)[1], tf.shape(features)[2]
    padded = tf.pad(tf.cast(features, "float32"), [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    first, step = _samples(tf.stop_gradient(boxes), stride, size)
    # Positions of the first and the last sample on the padded map, relative to its extent.
    extent = tf.cast(tf.stack([height + 1, width + 1]), "float32")
    start, stop = (first + 1.0) / extent, (first + (SAMPLES * size - 1) * step + 1.0) / extent
    sampled = tf.image.crop_and_resize(padded, tf.concat([start, stop], axis=-1), image_of, (SAMPLES * size,) * 2)
    return tf.nn.avg_pool2d(sampled, SAMPLES, SAMPLES, "VALID")


def roi_align_by_matrices(features, boxes, stride: float, size: int = 7):
    """`roi_align` by two products with interpolation matrices. It runs on any backend and can be converted."""
    features = ops.cast(features, "float32")
    _, height, width, _ = ops.shape(features)
    first, step = _samples(ops.stop_gradient(ops.convert_to_tensor(boxes)), stride, size)
    rows = _interpolation(first[..., 0], step[..., 0], height, size)  # [B, R, size, H]
    columns = _interpolation(first[..., 1], step[..., 1], width, size)  # [B, R, size, W]
    return ops.einsum("brqw,brpwc->brpqc", columns, ops.einsum("brph,bhwc->brpwc", rows, features))


def max_pool(features, boxes, stride: float, size: int = 7):
    """Pool each box by the maximum of each bin, rounded to whole cells, as in Fast R-CNN and the paper.

    Equal to torchvision's `roi_pool(..., spatial_scale=1 / stride)`: corners are rounded to cells, the last cell is
    included, and a bin outside the map is 0. It processes one box at a time, so it is slower than `roi_align`.

    Arguments and result are those of `roi_align`.
    """
    features = ops.cast(features, "float32")
    boxes = ops.stop_gradient(ops.convert_to_tensor(boxes))
    batch, height, width, channels = ops.shape(features)
    count = ops.shape(boxes)[1]
    corners = _rounded(boxes / stride)
    extent = ops.maximum(corners[..., 2:] - corners[..., :2] + 1.0, 1.0)  # cells
    rows = _cells(corners[..., 0], extent[..., 0], height, size)  # bool [B, R, size, H]
    columns = _cells(corners[..., 1], extent[..., 1], width, size)
    lowest = -3e38

    def of_image(arguments):
        image, image_rows, image_columns = arguments

        def of_box(bins):
            of_rows, of_columns = bins
            strips = ops.max(ops.where(of_rows[:, :, None, None], image[None], lowest), axis=1)  # [size, W, C]
            found = ops.max(ops.where(of_columns[None, :, :, None], strips[:, None], lowest), axis=2)
            return ops.where(found > lowest, found, 0.0)

        return ops.map(of_box, (image_rows, image_columns))

    results = ops.map(of_image, (features, rows, columns))
    return ops.reshape(results, (batch, count, size, size, channels))


def _samples(boxes, stride: float, size: int):
    """The first sample of each box, in cells from the centre of the first cell, and the step: `[..., 2]` (y, x)."""
    start, stop = boxes[..., :2] / stride - 0.5, boxes[..., 2:] / stride - 0.5
    step = (stop - start) / (SAMPLES * size)
    return start + step / 2, step


def _interpolation(first, step, length, size: int):
    """Weight of each of `length` cells of an axis in each bin: `[...]`, `[...]` -> float32 `[..., size, length]`."""
    number = ops.reshape(ops.arange(SAMPLES * size, dtype="float32"), (size, SAMPLES))
    places = first[..., None, None] + step[..., None, None] * number  # [..., size, SAMPLES]
    length_float = ops.cast(length, "float32")
    inside = ops.logical_and(places >= -1.0, places <= length_float)
    places = ops.clip(places, 0.0, length_float - 1.0)
    cells = ops.arange(length, dtype="float32")
    weights = ops.maximum(1.0 - ops.abs(places[..., None] - cells), 0.0)  # [..., size, SAMPLES, length]
    return ops.mean(weights * ops.cast(inside, "float32")[..., None], axis=-2)


def _rounded(values):
    """Round to the nearest integer, halves away from zero as in C."""
    return ops.sign(values) * ops.floor(ops.abs(values) + 0.5)


def _cells(start, extent, length, size: int):
    """Mask of the cells of an axis in each bin: `[...]`, `[...]` -> bool `[..., size, length]`."""
    number = ops.arange(size, dtype="float32")
    bin_size = extent[..., None] / size
    limit = ops.cast(length, "float32")
    low = ops.clip(ops.floor(number * bin_size) + start[..., None], 0.0, limit)[..., None]
    high = ops.clip(ops.ceil((number + 1.0) * bin_size) + start[..., None], 0.0, limit)[..., None]
    cells = ops.arange(length, dtype="float32")
    return ops.logical_and(cells >= low, cells < high)
