"""Losses of class-aware anchors: sampled as in the proposal network, with SSD's hard negatives, or focal."""

from typing import Any, NamedTuple

from keras import ops

from zip_keras.config import DetectorLossConfig, TargetConfig
from zip_keras.losses.roi import box_penalty
from zip_keras.targets.matching import BACKGROUND, OBJECT
from zip_keras.targets.sampling import sample


class LabelledAnchors(NamedTuple):
    """The anchors of one level and their targets.

    `anchors` float32 `[N, 4]`; `labels` int32 `[B, N]` (-1 ignored, 0 background, 1 object); `classes` int32 `[B, N]`
    (0 background, 1 to C); `boxes` float32 `[B, N, 4]`, the matched objects.
    """

    anchors: Any
    labels: Any
    classes: Any
    boxes: Any


def sampled_losses(logits, deltas, level: LabelledAnchors, seed, targets: TargetConfig, config: DetectorLossConfig):
    """Losses of the anchors that `zip_keras.targets.sampling.sample` draws on one level: (classification, box), `[B]`.

    Args:
        logits, deltas: float32 `[B, N, C + 1]`, `[B, N, 4]`, the latter in units of `DELTA_STDDEVS`.
        seed: int32 `[B]`.
    """
    drawn = sample(level.labels, seed, targets, gray=False)
    places = drawn.anchors[..., None]
    logits, deltas, boxes = (ops.take_along_axis(x, places, axis=1) for x in (logits, deltas, level.boxes))
    classes = ops.take_along_axis(level.classes, drawn.anchors, axis=1)
    anchors = ops.take(level.anchors, drawn.anchors, axis=0)
    count = ops.maximum(ops.sum(drawn.used, axis=1), 1.0)
    positive = ops.logical_and(drawn.labels == OBJECT, drawn.used > 0)
    cost = cross_entropy(logits, classes)
    box = box_penalty(deltas, anchors, boxes, positive, config.box)
    return ops.sum(cost * drawn.used, axis=1) / count, config.box_weight * ops.sum(box, axis=1) / count


def dense_losses(logits, deltas, level: LabelledAnchors, targets: TargetConfig, config: DetectorLossConfig):
    """Losses of the anchors of all levels in one list: (classification, box), float32 `[B]` each.

    They are sums over an image's anchors divided by its number of positives (at least 1). With "hard_negatives" (Liu et
    al., "SSD", arXiv 1512.02325) only the negatives with the highest loss count: `negative_ratio` times as many as
    positives, or `targets.quota` if there are no positives.
    """
    cost = cross_entropy(logits, level.classes)
    positive = level.labels == OBJECT
    number = ops.sum(ops.cast(positive, "float32"), axis=1)  # [B]
    negative = level.labels == BACKGROUND
    if config.anchors == "focal":
        share = ops.where(positive, config.focal_alpha, 1.0 - config.focal_alpha)
        weight = share * (1.0 - ops.exp(-cost)) ** config.focal_gamma  # exp(-cost) is P(right class)
    else:
        wanted = ops.where(number > 0, config.negative_ratio * number, float(targets.quota))
        hardness = ops.where(negative, ops.stop_gradient(cost), -1.0)
        rank = ops.argsort(ops.argsort(-hardness, axis=1), axis=1)  # 0 for the highest loss
        negative = ops.logical_and(negative, ops.cast(rank, "float32") < wanted[:, None])
        weight = 1.0
    counts = ops.cast(ops.logical_or(positive, negative), "float32")
    scale = ops.maximum(number, 1.0)
    box = box_penalty(deltas, level.anchors, level.boxes, positive, config.box)
    return ops.sum(cost * weight * counts, axis=1) / scale, config.box_weight * ops.sum(box, axis=1) / scale


def cross_entropy(logits, classes):
    """Softmax cross-entropy: logits `[B, N, C + 1]`, classes int32 `[B, N]` -> float32 `[B, N]`."""
    right = ops.one_hot(classes, ops.shape(logits)[-1], dtype="float32")
    return -ops.sum(ops.log_softmax(ops.cast(logits, "float32"), axis=-1) * right, axis=-1)
