"""Training targets of the second stage's RoIs. Paper section 4; Girshick, "Fast R-CNN", arXiv 1504.08083."""

from typing import Any, NamedTuple

from keras import ops

from zip_keras.config import AnchorConfig, RoITargetConfig, TargetConfig
from zip_keras.ops.anchors import level_of_boxes
from zip_keras.targets.matching import BACKGROUND, IGNORED, OBJECT, assign
from zip_keras.targets.sampling import random_numbers

_SEED_OF_ROIS = 104729  # differs from the seeds of levels and refinement steps


class RoISample(NamedTuple):
    """The RoIs of each image that enter the loss, without gradient.

    `boxes` float32 `[B, S, 4]`, pixels; `levels` int32 `[B, S]`; `classes` int32 `[B, S]` (0 background, 1 to C);
    `matched_boxes` float32 `[B, S, 4]`, the object of an RoI with a class; `used` float32 `[B, S]` (0 = padding).
    """

    boxes: Any
    levels: Any
    classes: Any
    matched_boxes: Any
    used: Any


def sample_rois(boxes, valid, levels, targets, config: RoITargetConfig, anchors: AnchorConfig) -> RoISample:
    """Label proposals and draw those that enter the loss.

    Difficult objects and crowds are neither appended nor matched, and RoIs that overlap them and would be background
    are ignored, see `assign`. The draw depends only on the image's seed, its proposals and its objects.

    Args:
        boxes, valid, levels: proposals `[B, n, 4]`, `[B, n]`, `[B, n]`; boxes are cut at the border of the padding.
        targets: targets of a batch as in `assign`, and `seed [B]`.
        config: counts and thresholds.
        anchors: determine the level whose map an appended object is pooled from.

    Returns:
        `config.per_image` places: objects first, at most `config.positive_share` of them, then background.
    """
    truth = ops.cast(targets["boxes"], "float32")
    size = ops.cast(targets["size"], "float32")  # [B, 2]
    limits = ops.concatenate([size, size], axis=-1)[:, None, :]
    boxes = ops.minimum(ops.cast(boxes, "float32"), limits)  # without the padding
    valid = ops.cast(valid, "bool")
    if config.append_ground_truth:
        wanted = ops.convert_to_tensor(targets["classes"]) >= 0
        for aside in ("difficult", "crowd"):
            wanted = ops.logical_and(wanted, ops.logical_not(ops.cast(targets[aside], "bool")))
        boxes = ops.concatenate([boxes, truth], axis=1)
        valid = ops.concatenate([valid, wanted], axis=1)
        levels = ops.concatenate([levels, level_of_boxes(truth, anchors)], axis=1)
    valid = ops.logical_and(valid, ops.all(boxes[..., 2:] - boxes[..., :2] >= 1.0, axis=-1))
    boxes = ops.where(valid[..., None], boxes, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0]))
    boxes = ops.stop_gradient(boxes)
    assignment = assign(boxes, targets, _thresholds(config), gray=False)
    labels = ops.where(valid, assignment.labels, IGNORED)

    places, used = _draw(labels, ops.cast(targets["seed"], "int32"), config)
    labels, matches, levels = (ops.take_along_axis(x, places, axis=1) for x in (labels, assignment.matches, levels))
    of_object = ops.take_along_axis(ops.cast(targets["classes"], "int32"), matches, axis=1)
    return RoISample(
        ops.take_along_axis(boxes, places[..., None], axis=1),
        levels,
        ops.where(labels == OBJECT, of_object + 1, 0),
        ops.take_along_axis(truth, matches[..., None], axis=1),
        ops.cast(used, "float32"),
    )


def _thresholds(config: RoITargetConfig) -> TargetConfig:
    low, high = config.negative_iou, config.positive_iou
    return TargetConfig(positive_iou=high, gray_iou=(low, high), negative_iou=low)


def _draw(labels, seed, config: RoITargetConfig):
    """Indices int32 `[B, S]` of the drawn RoIs, objects first, and which places are used, bool `[B, S]`."""
    batch, count = ops.shape(labels)[0], ops.shape(labels)[1]
    number = random_numbers(seed + _SEED_OF_ROIS, ops.arange(count, dtype="int32"))  # [B, n]
    most = max(1, int(config.positive_share * config.per_image))
    positive = ops.where(labels == OBJECT, number, -1.0)
    # The smallest of the `most` largest numbers. Objects with a smaller number are not drawn.
    least = ops.top_k(ops.concatenate([positive, ops.full((batch, most), -1.0)], axis=1), most)[0][:, -1:]
    drawn = ops.logical_and(labels == OBJECT, positive >= least)
    priority = ops.where(drawn, number + 1.0, ops.where(labels == BACKGROUND, number, -1.0))
    padded = ops.concatenate([priority, ops.full((batch, config.per_image), -1.0)], axis=1)
    best, places = ops.top_k(padded, config.per_image)
    return ops.minimum(ops.cast(places, "int32"), count - 1), best >= 0.0
