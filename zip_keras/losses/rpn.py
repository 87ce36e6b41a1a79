"""Loss of a level: softmax cross-entropy of the sampled anchors, box regression of the positives. Paper section 3.3."""

from keras import ops

from zip_keras.config import LossConfig
from zip_keras.ops import boxes as box_ops
from zip_keras.targets.matching import IGNORED, OBJECT
from zip_keras.targets.sampling import Sample

SMOOTH_L1_BETA = 1.0 / 9.0  # from quadratic to linear; sigma = 3 of Faster R-CNN's proposal network


# Lower bound of the divisor of the quality focal loss, which is otherwise the sum of the positives' IoU. The loss is a
# sum over thousands of background anchors, so images with few objects would dominate the batch.
QUALITY_LEAST = 10.0


def level_losses(logits, deltas, anchors, matched_boxes, sample: Sample, config: LossConfig):
    """Classification and box loss of every image at one level.

    Args:
        logits: float32 `[B, N, K]`.
        deltas: float32 `[B, N, 4]`.
        anchors: float32 `[N, 4]`, or `[B, N, 4]` for boxes per image (refinement steps).
        matched_boxes: float32 `[B, S, 4]`, the object of each sampled anchor, pixels.
        sample: the sampled anchors.

    Returns:
        (classification, box), float32 `[B]` each: sums over the sampled anchors divided by their number (at least 1),
        as in Faster R-CNN, so an image's loss depends only on the image.
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


def quality_loss(quality, deltas, anchors, matched_boxes, labels, sample: Sample, config: LossConfig):
    """Loss of the predicted IoU of each anchor's box with its object, for every image at one level.

    The true IoU has no gradient.

    Args:
        quality: float32 `[B, N]`, logits.
        deltas: float32 `[B, N, 4]`.
        anchors: float32 `[N, 4]`.
        matched_boxes: float32 `[B, N, 4]`, the object of every anchor, pixels; an empty box where there is none.
        labels: int32 `[B, N]` of every anchor.
        sample: the sampled anchors.
        config: `quality` "sampled": binary cross-entropy, mean over the sampled anchors. "all": quality focal loss (Li
            et al., arXiv 2006.04388, beta 2) of every anchor that is not ignored, divided by the sum of the positives'
            IoU, at least `QUALITY_LEAST`.

    Returns:
        float32 `[B]`.
    """
    deltas = ops.stop_gradient(ops.cast(deltas, "float32"))
    quality = ops.cast(quality, "float32")
    true = ops.stop_gradient(box_ops.paired_iou(box_ops.decode(deltas, anchors), matched_boxes))  # [B, N]
    if config.quality == "sampled":
        of_sample = (ops.take_along_axis(values, sample.anchors, axis=1) for values in (quality, true))
        cost = _binary_cross_entropy(*of_sample) * sample.used
        return config.quality_weight * ops.sum(cost, axis=1) / ops.maximum(ops.sum(sample.used, axis=1), 1.0)
    used = ops.cast(labels != IGNORED, "float32")
    cost = ops.square(true - ops.sigmoid(quality)) * _binary_cross_entropy(quality, true) * used
    total = ops.sum(true * ops.cast(labels == OBJECT, "float32"), axis=1)
    return config.quality_weight * ops.sum(cost, axis=1) / ops.maximum(total, QUALITY_LEAST)


def _binary_cross_entropy(logits, targets):
    """Element-wise binary cross-entropy of logits and targets from 0 to 1."""
    return ops.softplus(logits) - logits * targets


def _box_penalty(deltas, anchors, boxes, positive, kind: str):
    """Box loss of each sampled anchor: three `[B, S, 4]`, bool `[B, S, 1]` -> `[B, S]`, 0 if not positive.

    Padding and negatives are matched to an arbitrary box, which may be empty. Their values are replaced before any
    division or square, so that no large number and no NaN reaches the gradient.
    """
    if kind == "giou":
        found = box_ops.decode(ops.where(positive, deltas, 0.0), anchors)
        return 1.0 - box_ops.generalized_iou(found, ops.where(positive, boxes, found))
    difference = ops.where(positive, deltas - box_ops.encode(boxes, anchors), 0.0)
    return ops.sum(_penalty(difference, kind), axis=-1)


def _penalty(difference, kind: str):
    if kind == "l2":
        return ops.square(difference)
    size = ops.abs(difference)
    return ops.where(size < SMOOTH_L1_BETA, 0.5 * ops.square(difference) / SMOOTH_L1_BETA, size - 0.5 * SMOOTH_L1_BETA)
