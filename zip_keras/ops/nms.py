"""Non-maximum suppression (NMS) of scored boxes of a batch, on any Keras backend.

TensorFlow uses its compiled kernels, several times faster with the same results. Other backends use `greedy_keep`.
"""

import keras
from keras import ops

from zip_keras.ops import boxes as box_ops
from zip_keras.ops.converting import conversion_target

ABSENT = -1e9  # score of an empty place


def best_places(scores, count: int):
    """The best `count` of scores `[B, N]`, best first, and their indices, int32 `[B, count]`.

    NaN counts as `ABSENT`. If there are fewer scores, `ABSENT` follows with arbitrary indices.
    """
    scores = without_nan(scores)
    batch, last = ops.shape(scores)[0], ops.shape(scores)[1] - 1
    scores, order = ops.top_k(ops.concatenate([scores, ops.full((batch, count), ABSENT)], axis=1), count)
    return scores, ops.minimum(order, last)


def without_nan(scores):
    """Replace NaN by `ABSENT`, so that it is not returned and does not change the order of other scores."""
    return ops.where(scores > ABSENT / 2, scores, ABSENT)


def sorted_by_score(boxes, scores):
    order = ops.argsort(-scores, axis=1)
    return ops.take_along_axis(boxes, order[..., None], axis=1), ops.take_along_axis(scores, order, axis=1)


def keep_by_rank(boxes, ranks, iou: float, keep: int):
    """NMS within each class by CombinedNonMaxSuppression, the fastest kernel of TensorFlow.

    The kernel orders equal scores arbitrarily and puts its padding, which scores 0, before negative scores. So it gets
    ranks instead of scores: 1 for the worst box, 0 for an absent one.

    Args:
        boxes, ranks: float32 `[B, N, 1, 4]`, shared by all classes, and `[B, N, classes]`.
        keep: maximum number of boxes kept per class.

    Returns:
        the kept boxes of all classes and their ranks, best first, float32 `[B, classes * keep, 4]`,
        `[B, classes * keep]`; the rank of unused places is 0.
    """
    import tensorflow as tf

    if conversion_target() == "litert":
        return _keep_by_rank_of_one_image(boxes[0, :, 0], ranks[0], iou, keep)
    result = tf.raw_ops.CombinedNonMaxSuppression(
        boxes=boxes,
        scores=ranks,
        max_output_size_per_class=keep,
        max_total_size=ranks.shape[2] * keep,
        iou_threshold=iou,
        score_threshold=0.5,
        pad_per_class=False,
        clip_boxes=False,
    )
    return result.nmsed_boxes, result.nmsed_scores


def _keep_by_rank_of_one_image(boxes, ranks, iou: float, keep: int):
    """`keep_by_rank` of boxes `[N, 4]` and ranks `[N, classes]` by NonMaxSuppressionV5, which LiteRT has too."""
    import tensorflow as tf

    parts = []
    for of_class in tf.unstack(ranks, axis=1):
        selected = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes,
            scores=of_class,
            max_output_size=keep,
            iou_threshold=iou,
            score_threshold=0.5,
            soft_nms_sigma=0.0,
            pad_to_max_output_size=True,
        )
        places, valid = selected.selected_indices, tf.range(keep) < selected.valid_outputs
        parts.append((tf.gather(boxes, places), tf.where(valid, tf.gather(of_class, places), 0.0)))
    kept_boxes, kept_ranks = (tf.concat(columns, axis=0) for columns in zip(*parts, strict=True))
    kept_ranks, order = tf.math.top_k(kept_ranks, len(parts) * keep)
    return tf.gather(kept_boxes, order)[None], kept_ranks[None]


def nms_mask(boxes, scores, iou: float, limit: int):
    """Mask of the boxes that greedy NMS keeps: `[B, N, 4]`, `[B, N]` (best first) -> bool `[B, N]`.

    A box is dropped if its IoU with a kept box before it is greater than `iou`. At most `limit` boxes per image are
    kept.
    """
    present = scores > ABSENT / 2
    if keras.backend.backend() != "tensorflow":
        keep = greedy_keep(boxes, present, iou)
        return ops.logical_and(keep, ops.cumsum(ops.cast(keep, "int32"), axis=1) <= limit)
    import tensorflow as tf

    count = tf.shape(scores)[1]
    rank = tf.where(present, tf.cast(count - tf.range(count), "float32"), 0.0)
    kept = keep_by_rank(boxes[:, :, None], rank[:, :, None], iou, limit)[1]
    places = count - tf.cast(kept, "int32")  # `count`, an extra place, where nothing is kept
    image = tf.broadcast_to(tf.range(tf.shape(scores)[0])[:, None], tf.shape(places))
    hits = tf.scatter_nd(tf.stack([image, places], axis=-1), tf.ones_like(places), [tf.shape(scores)[0], count + 1])
    return hits[:, :-1] > 0


def class_nms(boxes, scores, classes, num_classes: int, iou: float, keep: int):
    """NMS among the boxes of each class, without a loop over classes.

    Args:
        boxes, scores, classes: `[B, N, 4]`, `[B, N]` best first (`ABSENT` for empty places), int32 `[B, N]`.
        num_classes: C.
        keep: maximum number of boxes kept per image.

    Returns:
        the kept boxes' scores float32 `[B, keep]`, best first, and their indices int32 `[B, keep]` among the N. If
        there are fewer, `ABSENT` follows with arbitrary indices.
    """
    present = scores > ABSENT / 2
    if keras.backend.backend() != "tensorflow":
        kept = greedy_keep(boxes, present, iou, classes)
        return best_places(ops.where(kept, scores, ABSENT), keep)
    count = ops.shape(scores)[1]
    rank = ops.where(present, ops.cast(count - ops.arange(count), "float32"), 0.0)
    ranks = rank[..., None] * ops.one_hot(classes, num_classes, dtype="float32")  # [B, N, C]
    kept = keep_by_rank(boxes[:, :, None], ranks, iou, keep)[1][:, :keep]
    places = ops.minimum(count - ops.cast(kept, "int32"), count - 1)
    return ops.where(kept > 0, ops.take_along_axis(scores, places, axis=1), ABSENT), places


def greedy_keep(boxes, present, iou: float, classes=None):
    """Greedy NMS in plain tensor operations: boxes `[B, N, 4]` best first, present `[B, N]` -> keep `[B, N]`.

    With `classes`, int32 `[B, N]`, a box is only dropped by boxes of its own class.

    `keep_j = present_j and no kept i < j has IoU > iou` is solved by iterating from "all kept". After k rounds the
    first k links of every chain are final, so the fixed point is the greedy result. Memory: a few `[B, N, N]` float32.
    """
    count = ops.shape(boxes)[1]
    earlier = ops.arange(count)[:, None] < ops.arange(count)[None, :]  # i before j
    conflict = ops.logical_and(box_ops.iou(boxes, boxes) > iou, earlier)  # [B, i, j]
    if classes is not None:
        conflict = ops.logical_and(conflict, classes[:, :, None] == classes[:, None, :])
    conflict = ops.cast(conflict, "float32")

    def following(keep):
        hits = ops.einsum("bi,bij->bj", ops.cast(keep, "float32"), conflict)
        return ops.logical_and(present, hits == 0)

    def unsettled(keep, settled):
        return ops.logical_not(settled)

    def step(keep, settled):
        after = following(keep)
        return after, ops.all(after == keep)

    keep, _ = ops.while_loop(unsettled, step, (present, ops.convert_to_tensor(False)))
    return keep
