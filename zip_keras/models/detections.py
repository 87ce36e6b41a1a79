"""Ranking of classified boxes in one list of detections, inside the graph."""

from typing import Any, NamedTuple

from keras import ops

from zip_keras.config import DetectionConfig
from zip_keras.ops import boxes as box_ops
from zip_keras.ops.nms import ABSENT, best_places, class_nms


class ClassifiedBoxes(NamedTuple):
    """Pairs of box and class.

    `boxes` float32 `[B, K, 4]`, pixels; `scores` float32 `[B, K]`, P(class), `ABSENT` for empty places; `classes` int32
    `[B, K]` from 0; `levels` int32 `[B, K]`.
    """

    boxes: Any
    scores: Any
    classes: Any
    levels: Any


class Detections(NamedTuple):
    """One list per image, best first. All values of invalid places are 0, including the class.

    `boxes` float32 `[B, n, 4]`, `scores` float32 `[B, n]` (decreasing), `classes` int32 `[B, n]`, `valid` bool
    `[B, n]`, `levels` int32 `[B, n]`.
    """

    boxes: Any
    scores: Any
    classes: Any
    valid: Any
    levels: Any


def best_pairs(scores, count: int):
    """Best pairs of scores `[B, N, C]`, best first: scores, indices among the N and classes (int32), `[B, count]`."""
    classes = scores.shape[-1]
    batch, boxes = ops.shape(scores)[0], ops.shape(scores)[1]
    best, places = best_places(ops.reshape(scores, (batch, boxes * classes)), count)
    places = ops.cast(places, "int32")
    return best, places // classes, places % classes


def rank_detections(
    candidates: ClassifiedBoxes, height, width, num_classes: int, config: DetectionConfig
) -> Detections:
    """Clip boxes, drop small ones, run NMS within each class and keep the best.

    Args:
        candidates: boxes in pixels of the image, unclipped, in any order.
        height, width: size of the image, pixels.
        num_classes: C.
        config: counts and thresholds; `score_threshold` is applied last.
    """
    scores, order = best_places(candidates.scores, config.pre_nms_top_n)
    boxes = box_ops.clip(ops.take_along_axis(candidates.boxes, order[..., None], axis=1), height, width)
    classes, levels = (ops.take_along_axis(x, order, axis=1) for x in (candidates.classes, candidates.levels))
    fits = ops.min(boxes[..., 2:] - boxes[..., :2], axis=-1) >= config.min_size
    scores, order = best_places(ops.where(fits, scores, ABSENT), config.pre_nms_top_n)  # absent ones go to the end
    boxes = ops.take_along_axis(boxes, order[..., None], axis=1)
    classes, levels = (ops.take_along_axis(x, order, axis=1) for x in (classes, levels))

    kept, places = class_nms(boxes, scores, classes, num_classes, config.nms_iou, config.max_detections)
    valid = ops.logical_and(kept > ABSENT / 2, kept >= config.score_threshold)
    boxes = ops.take_along_axis(boxes, places[..., None], axis=1)
    classes, levels = (ops.take_along_axis(x, places, axis=1) for x in (classes, levels))
    return Detections(
        ops.where(valid[..., None], boxes, 0.0),
        ops.where(valid, kept, 0.0),
        ops.where(valid, classes, 0),
        valid,
        ops.where(valid, levels, 0),
    )
