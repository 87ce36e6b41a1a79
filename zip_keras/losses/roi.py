"""Loss of classified boxes: softmax cross-entropy, and box regression of the true class. Paper section 4."""

from keras import ops

from zip_keras.config import DetectorLossConfig
from zip_keras.ops import boxes as box_ops

DELTA_STDDEVS = (0.1, 0.1, 0.2, 0.2)  # the head's deltas are multiples of these, as in Fast R-CNN


def decode_classes(deltas, boxes):
    """Decode the boxes of each class: deltas `[B, R, C, 4]`, RoIs `[B, R, 4]` -> `[B, R, C, 4]`.

    The deltas are in units of `DELTA_STDDEVS`.
    """
    return box_ops.decode(deltas * ops.convert_to_tensor(DELTA_STDDEVS), boxes[:, :, None])


def roi_losses(logits, deltas, sample, config: DetectorLossConfig):
    """Classification and box loss of every image.

    Args:
        logits: float32 `[B, S, C + 1]`, background first.
        deltas: float32 `[B, S, C, 4]`, in units of `DELTA_STDDEVS`.
        sample: `zip_keras.targets.rois.RoISample`.

    Returns:
        (classification, box), float32 `[B]` each: sums over the sampled RoIs divided by their number (at least 1), so
        an image's loss depends only on the image, and is 0 if it has no RoIs.
    """
    logits, deltas = ops.cast(logits, "float32"), ops.cast(deltas, "float32")
    count = ops.maximum(ops.sum(sample.used, axis=1), 1.0)
    right = ops.one_hot(sample.classes, ops.shape(logits)[-1], dtype="float32")
    classification = -ops.sum(ops.sum(ops.log_softmax(logits, axis=-1) * right, axis=-1) * sample.used, axis=1) / count

    number = ops.maximum(sample.classes - 1, 0)[..., None, None]  # [B, S, 1, 1]
    of_class = ops.squeeze(
        ops.take_along_axis(deltas, ops.broadcast_to(number, (*ops.shape(number)[:3], 4)), axis=2), 2
    )
    positive = ops.logical_and(sample.classes > 0, sample.used > 0)
    penalty = box_penalty(of_class, sample.boxes, sample.matched_boxes, positive, config.box)
    return classification, config.box_weight * ops.sum(penalty, axis=1) / count


def box_penalty(deltas, boxes, matched_boxes, positive, kind: str):
    """Loss of each box: deltas in units of `DELTA_STDDEVS` and boxes `[B, S, 4]`, bool `[B, S]` -> `[B, S]`.

    It is 0 if not positive, so boxes matched to padding do not reach the gradient.
    """
    scale, positive = ops.convert_to_tensor(DELTA_STDDEVS), positive[..., None]
    if kind == "giou":
        found = box_ops.decode(ops.where(positive, deltas * scale, 0.0), boxes)
        return 1.0 - box_ops.generalized_iou(found, ops.where(positive, matched_boxes, found))
    wanted = ops.where(positive, box_ops.encode(matched_boxes, boxes) / scale, 0.0)
    difference = ops.where(positive, deltas - wanted, 0.0)
    if kind == "l2":
        return ops.sum(ops.square(difference), axis=-1)
    size = ops.abs(difference)
    return ops.sum(ops.where(size < 1.0, 0.5 * ops.square(difference), size - 0.5), axis=-1)
