"""Matching of anchors to objects, and their labels. Paper sections 3.3 and 4.

Labels are the classes of a head's softmax: 0 background, 1 object, 2 gray; anchors with -1 are ignored.
"""

from typing import Any, NamedTuple

from keras import ops

from zip_keras.config import TargetConfig
from zip_keras.ops import boxes as box_ops

IGNORED, BACKGROUND, OBJECT, GRAY = -1, 0, 1, 2


class Assignment(NamedTuple):
    """For every anchor: `labels` int32 `[B, N]` and `matches` int32 `[B, N]`, the index of the best box."""

    labels: Any
    matches: Any


def assign(anchors, targets, config: TargetConfig, *, gray: bool) -> Assignment:
    """Label the anchors of all levels together.

    Args:
        anchors: float32 `[N, 4]`, pixels, or `[B, N, 4]` for boxes per image, such as those of refinement steps. These
            must have a positive size.
        targets: a batch's `boxes [B, M, 4]`, `classes [B, M]` (-1 = padding), `difficult`, `crowd` `[B, M]`,
            `size [B, 2]` (height, width of the image inside its padding).
        config: thresholds.
        gray: whether there is a gray class; otherwise anchors in the gray range are ignored.

    Difficult objects and crowds are never matched. Anchors that overlap them and would be negative or gray are ignored.
    The overlap is the IoU for difficult objects, and the share of the anchor inside for crowds. Anchors whose centre
    lies in the padding are ignored.
    """
    anchors = ops.convert_to_tensor(anchors)
    anchors = anchors if len(anchors.shape) == 3 else anchors[None]  # [B or 1, N, 4]
    present = ops.convert_to_tensor(targets["classes"]) >= 0  # [B, M]
    set_aside = ops.logical_or(ops.cast(targets["difficult"], "bool"), ops.cast(targets["crowd"], "bool"))
    wanted = ops.cast(ops.logical_and(present, ops.logical_not(set_aside)), "float32")[:, None, :]  # [B, 1, M]
    difficult = ops.cast(ops.logical_and(present, ops.cast(targets["difficult"], "bool")), "float32")[:, None, :]
    crowd = ops.cast(ops.logical_and(present, ops.cast(targets["crowd"], "bool")), "float32")[:, None, :]

    all_boxes = ops.cast(targets["boxes"], "float32")
    shared = box_ops.intersection(anchors, all_boxes)  # [B, N, M]
    anchor_area = box_ops.area(anchors)[..., None]
    overlap = shared / ops.maximum(anchor_area + box_ops.area(all_boxes)[:, None, :] - shared, 1e-8)
    inside_crowd = ops.max(crowd * shared / anchor_area, axis=-1) >= config.ignore_crowd_overlap
    near_difficult = ops.max(difficult * overlap, axis=-1) >= config.negative_iou
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2  # y and x
    on_image = ops.all(centres < ops.cast(targets["size"], "float32")[:, None, :], axis=-1)  # [B, N]
    overlap = overlap * wanted
    best = ops.max(overlap, axis=-1)  # [B, N]
    matches = ops.cast(ops.argmax(overlap, axis=-1), "int32")

    positive = best >= config.positive_iou
    if config.best_anchor_positive:
        positive = ops.logical_or(positive, _is_best_anchor(ops.where(on_image[..., None], overlap, 0.0)))
    negative = best < config.negative_iou
    if config.ignore_untouched:
        nothing_to_touch = ops.logical_not(ops.any(wanted > 0.0, axis=-1))  # [B, 1]: all anchors are negative there
        negative = ops.logical_and(negative, ops.logical_or(best > 0.0, nothing_to_touch))
    labels = ops.where(negative, BACKGROUND, IGNORED)
    if gray:
        low, high = config.gray_iou
        labels = ops.where(ops.logical_and(best >= low, best <= high), GRAY, labels)
    labels = ops.where(ops.logical_or(inside_crowd, near_difficult), IGNORED, labels)
    labels = ops.where(positive, OBJECT, labels)

    return Assignment(ops.where(on_image, ops.cast(labels, "int32"), IGNORED), matches)


def _is_best_anchor(overlap):
    """Whether an anchor is the best anchor of any object: overlaps `[B, N, M]` -> bool `[B, N]`."""
    best_of_object = ops.max(overlap, axis=1, keepdims=True)
    return ops.any(ops.logical_and(overlap >= best_of_object, best_of_object > 0.0), axis=-1)
