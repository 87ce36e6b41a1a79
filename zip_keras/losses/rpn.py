"""Loss of a level: softmax cross-entropy over sampled anchors + box regression on the positives. Paper section 3.3."""

from keras import ops

from zip_keras.config import LossConfig
from zip_keras.ops import boxes as box_ops
from zip_keras.targets.matching import OBJECT
from zip_keras.targets.sampling import Sample

SMOOTH_L1_BETA = 1.0 / 9.0  # where the square turns into a line; sigma = 3 of Faster R-CNN's proposal network


def level_losses(logits, deltas, anchors, matched_boxes, sample: Sample, config: LossConfig):
    """Classification and box loss of every image at one level.

    Args:
        logits: float32 `[B, N, K]`.
        deltas: float32 `[B, N, 4]`.
        anchors: float32 `[N, 4]`, or `[B, N, 4]` where images have their own (boxes that are refined again).
        matched_boxes: float32 `[B, S, 4]`, the object of each sampled anchor, pixels.
        sample: the sampled anchors.

    Returns:
        (classification, box), float32 `[B]` each: sums over the sampled anchors divided by their number (at least 1),
        as in Faster R-CNN, so an image's loss depends on nothing but the image.
    """
    logits, deltas = ops.cast(logits, "float32"), ops.cast(deltas, "float32")
    numbers = sample.anchors[..., None]
    chosen_logits = ops.take_along_axis(logits, numbers, axis=1)  # [B, S, K]
    chosen_deltas = ops.take_along_axis(deltas, numbers, axis=1)  # [B, S, 4]
    if len(anchors.shape) == 2:
        chosen_anchors = ops.take(anchors, sample.anchors, axis=0)  # [B, S, 4]
    else:
        chosen_anchors = ops.take_along_axis(anchors, numbers, axis=1)
    count = ops.maximum(ops.sum(sample.used, axis=1), 1.0)

    log_probabilities = ops.log_softmax(chosen_logits, axis=-1)
    right = ops.one_hot(sample.labels, ops.shape(logits)[-1], dtype="float32")
    classification = -ops.sum(ops.sum(log_probabilities * right, axis=-1) * sample.used, axis=1) / count

    positive = ops.cast(sample.labels == OBJECT, "float32") * sample.used
    penalty = _box_penalty(chosen_deltas, chosen_anchors, matched_boxes, positive[..., None] > 0, config.box)
    box = ops.sum(penalty, axis=1) / count
    return classification, config.box_weight * box


def _box_penalty(deltas, anchors, boxes, positive, kind: str):
    """What each sampled anchor's box costs: `[B, S, 4]` three times, bool `[B, S, 1]` -> `[B, S]`, 0 if not positive.

    Padding and negatives are "matched" to some box, maybe empty; theirs is replaced before anything is divided or
    squared, so no large number and no NaN of theirs can reach the gradient.
    """
    if kind == "giou":
        found = box_ops.decode(ops.where(positive, deltas, 0.0), anchors)
        return 1.0 - box_ops.generalized_iou(found, ops.where(positive, boxes, found))
    difference = ops.where(positive, deltas - box_ops.encode(boxes, anchors), 0.0)
    return ops.sum(_penalty(difference, kind), axis=-1)


def _penalty(difference, kind: str):
    if kind == "l2":
        return 0.5 * ops.square(difference)
    size = ops.abs(difference)
    return ops.where(size < SMOOTH_L1_BETA, 0.5 * ops.square(difference) / SMOOTH_L1_BETA, size - 0.5 * SMOOTH_L1_BETA)
