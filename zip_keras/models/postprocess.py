"""From the scored boxes of the levels to one ranked list, inside the graph. Paper section 3.4; AttractioNet.

Everything works on one batch of any Keras backend; see `zip_keras.ops.nms` for the kernels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from zip_keras.config import PostprocessConfig
from zip_keras.levels import LEVELS
from zip_keras.ops import boxes as box_ops
from zip_keras.ops.nms import (
    ABSENT,
    best_places,
    greedy_keep,
    keep_by_rank,
    nms_mask,
    sorted_by_score,
    without_nan,
)


class RankedBoxes(NamedTuple):
    """One list an image, best first; what is not valid is 0.

    `boxes` float32 `[B, n, 4]`, `scores` float32 `[B, n]` (decreasing), `valid` bool `[B, n]`, `levels` int32 `[B, n]`
    (1, 2, 3 fine to coarse: which level found the box).
    """

    boxes: Any
    scores: Any
    valid: Any
    levels: Any


class Candidates(NamedTuple):
    """Boxes of several levels: `boxes [B, N, 4]`, `scores [B, N]` (`ABSENT` where there is none), `levels [B, N]`."""

    boxes: Any
    scores: Any
    levels: Any


def postprocess(boxes, scores, height, width, config: PostprocessConfig, levels: Sequence[int] = LEVELS) -> RankedBoxes:
    """From scored boxes to one ranked list: NMS of each group, level bias, merging, box voting.

    Args:
        boxes: float32 `[B, N_g, 4]` for every group (one level at one scale), unclipped, in pixels of one image.
        scores: float32 `[B, N_g]`, P(object).
        height, width: the image's pixels; boxes are clipped to it and those smaller than `config.min_size` dropped.
        config: biases, thresholds and counts.
        levels: the level of each group, 1 to 3.
    """
    prepared = [_prepare(*group, height, width, config) for group in zip(boxes, scores, strict=True)]
    ranked = merge(_nms_levels(prepared, levels, config), config)
    if config.vote_iou is None:
        return ranked
    voters = [_best(group_boxes, group_scores, config.post_nms_top_n) for group_boxes, group_scores in prepared]
    voting_boxes, weights = (ops.concatenate(parts, axis=1) for parts in zip(*voters, strict=True))
    return ranked._replace(boxes=vote(ranked.boxes, voting_boxes, weights, config.vote_iou))


def level_candidates(
    boxes, scores, height, width, config: PostprocessConfig, levels: Sequence[int] = LEVELS
) -> Candidates:
    """The boxes of every group that its own NMS keeps, best first; the arguments are those of `postprocess`.

    A level's bias does not change which of its boxes survive, so calibration of the biases starts here.
    """
    prepared = [_prepare(*group, height, width, config) for group in zip(boxes, scores, strict=True)]
    return _nms_levels(prepared, levels, config)


def merge(candidates: Candidates, config: PostprocessConfig) -> RankedBoxes:
    """Adds the levels' biases to the scores and ranks all candidates by multi-threshold NMS."""
    if any(config.level_bias):
        candidates = biased(candidates, ops.convert_to_tensor(config.level_bias, "float32"))
    return multi_threshold(candidates.boxes, candidates.scores, config, candidates.levels)


def biased(candidates: Candidates, bias) -> Candidates:
    """Candidates with the biases of the three levels, float32 `[3]`, added to their scores, best first again."""
    boxes, scores, levels = candidates
    raised = scores + ops.take(bias, ops.clip(levels - 1, 0, 2))
    return _best_first(Candidates(boxes, ops.where(scores > ABSENT / 2, raised, ABSENT), levels))


def vote(chosen, boxes, scores, iou: float):
    """Box voting: every chosen box becomes the mean, weighted by score, of the boxes that overlap it by `iou` or more.

    Gidaris and Komodakis, arXiv 1505.01749. The choice of boxes, their order and scores stay as they are.

    Args:
        chosen: float32 `[B, n, 4]`.
        boxes, scores: the voters, float32 `[B, N, 4]`, `[B, N]`; a score of 0 or less has no vote.
        iou: least overlap of a voter with the chosen box.
    """

    def of_image(arguments):  # one image at a time: [n, N] overlaps of a batch would fill the memory
        own, others, weights = arguments
        weights = ops.where(box_ops.iou(own[None], others[None])[0] >= iou, ops.maximum(weights, 0.0)[None], 0.0)
        total = ops.sum(weights, axis=1, keepdims=True)
        return ops.where(total > 0.0, ops.matmul(weights, others) / ops.maximum(total, 1e-12), own)

    return ops.map(of_image, (chosen, boxes, scores))


def _prepare(boxes, scores, height, width, config: PostprocessConfig):
    """Clips a level's boxes, marks the too small ones absent, keeps the best `pre_nms_top_n`: `[B, q, 4]`, `[B, q]`."""
    scores = without_nan(scores)
    if config.pre_nms_top_n not in (None, boxes.shape[1]):  # else all of them, or chosen before they were decoded
        boxes, scores = _best(boxes, scores, config.pre_nms_top_n)
    boxes = box_ops.clip(boxes, height, width)
    sides = boxes[..., 2:] - boxes[..., :2]
    fits = ops.logical_and(ops.min(sides, axis=-1) >= config.min_size, scores > ABSENT / 2)
    return boxes, ops.where(fits, scores, ABSENT)


def _best(boxes, scores, count: int):
    """The best `count` places of `[B, N, 4]`, `[B, N]`, best first; where N is smaller, absent ones follow."""
    scores, order = best_places(scores, count)
    return ops.take_along_axis(boxes, order[..., None], axis=1), scores


def _nms_levels(groups, levels: Sequence[int], config: PostprocessConfig) -> Candidates:
    """NMS within each group; all boxes kept, best first, `groups * post_nms_top_n` places."""
    if keras.backend.backend() == "tensorflow":
        return _nms_levels_tensorflow(groups, levels, config)
    kept = []
    for (boxes, scores), level in zip(groups, levels, strict=True):
        boxes, scores = sorted_by_score(boxes, scores)
        keep = greedy_keep(boxes, scores > ABSENT / 2, config.nms_iou)
        boxes, scores = _best(boxes, ops.where(keep, scores, ABSENT), config.post_nms_top_n)
        kept.append((boxes, scores, ops.full_like(scores, level, dtype="int32")))
    return _best_first(Candidates(*(ops.concatenate(parts, axis=1) for parts in zip(*kept, strict=True))))


def _best_first(candidates: Candidates) -> Candidates:
    order = ops.argsort(-candidates.scores, axis=1)
    boxes = ops.take_along_axis(candidates.boxes, order[..., None], axis=1)
    scores, levels = (ops.take_along_axis(x, order, axis=1) for x in (candidates.scores, candidates.levels))
    return Candidates(boxes, scores, levels)


def _nms_levels_tensorflow(groups, levels: Sequence[int], config: PostprocessConfig) -> Candidates:
    """All groups in one call: a third of the time of one call a group. Of equal scores the earlier group wins."""
    import tensorflow as tf

    every_score = tf.concat([scores for _, scores in groups], axis=1)
    lengths = [tf.shape(scores)[1] for _, scores in groups]
    level_of = tf.concat([tf.fill([length], level) for length, level in zip(lengths, levels, strict=True)], axis=0)
    order = tf.argsort(every_score, axis=1, direction="DESCENDING", stable=True)
    count = tf.shape(every_score)[1]
    rank = tf.cast(count - tf.argsort(order, axis=1), "float32")  # exact up to 16 million boxes
    rank = tf.where(every_score > ABSENT / 2, rank, 0.0)
    longest = tf.reduce_max(lengths)
    boxes, ranks = [], []
    for (group_boxes, _), group_rank, length in zip(groups, tf.split(rank, lengths, axis=1), lengths, strict=True):
        boxes.append(tf.pad(group_boxes, [[0, 0], [0, longest - length], [0, 0]]))
        ranks.append(tf.pad(group_rank, [[0, 0], [0, longest - length]]))
    kept_boxes, kept_ranks = keep_by_rank(
        tf.stack(boxes, axis=2), tf.stack(ranks, axis=2), config.nms_iou, config.post_nms_top_n
    )
    number = tf.minimum(count - tf.cast(kept_ranks, "int32"), count - 1)  # from the best on
    place = tf.gather(order, number, batch_dims=1)
    scores = tf.where(kept_ranks > 0, tf.gather(every_score, place, batch_dims=1), ABSENT)
    return Candidates(kept_boxes, scores, tf.gather(level_of, place))


def multi_threshold(boxes, scores, config: PostprocessConfig, levels=None) -> RankedBoxes:
    """AttractioNet's multi-threshold NMS: one list that serves every budget.

    1. S_1 = the best n_1 of NMS(all, t_1). 2. S_i = NMS(S_1, t_i), each from S_1. 3. The list starts with the best n_K
    of S_K. 4. For i = K-1 .. 1, those of S_i not yet in the list follow in score order until n_i are out.

    Args:
        boxes, scores: float32 `[B, N, 4]`, `[B, N]`, best first; absent places score `ABSENT`.
        config: `thresholds`, `counts` (both decreasing) and `max_proposals`.
        levels: int32 `[B, N]`, handed through to the returned boxes; None = 0.

    Returns:
        `min(max_proposals, counts[0])` places. The scores are those of the returned boxes, sorted again, so that they
        decrease.
    """
    thresholds, counts = config.thresholds, config.counts
    if levels is None:
        levels = ops.zeros_like(scores, dtype="int32")
    boxes, scores, levels = _loosest(boxes, scores, levels, config)  # S_1

    present = scores > ABSENT / 2
    chosen = ops.zeros_like(present)
    number = ops.zeros_like(scores[:, 0], dtype="int32")  # chosen so far
    stage = ops.full_like(scores, float(len(counts)))  # when a box was chosen; len(counts) = never
    for i in reversed(range(len(thresholds))):
        # Boxes chosen earlier come from fewer than n_i places, so the first n_i of S_i hold every one that can follow;
        # and nothing beyond max_proposals is returned.
        budget = min(counts[i], config.max_proposals)
        survives = present if i == 0 else nms_mask(boxes, scores, thresholds[i], budget)
        fresh = ops.logical_and(survives, ops.logical_not(chosen))
        place = ops.cumsum(ops.cast(fresh, "int32"), axis=1)
        taken = ops.logical_and(fresh, place <= (budget - number)[:, None])
        number = number + ops.sum(ops.cast(taken, "int32"), axis=1)
        chosen = ops.logical_or(chosen, taken)
        stage = ops.where(taken, float(len(counts) - 1 - i), stage)
    # Places are in score order already: sorting by stage, then by place, is the list.
    rank = stage * counts[0] + ops.cast(ops.arange(counts[0]), "float32")[None]
    size = min(config.max_proposals, counts[0])
    negative_rank, order = ops.top_k(-rank, size)
    valid = -negative_rank < len(counts) * counts[0]
    boxes = ops.where(valid[..., None], ops.take_along_axis(boxes, order[..., None], axis=1), 0.0)
    scores = ops.where(valid, ops.take_along_axis(scores, order, axis=1), ABSENT)
    scores = ops.where(valid, ops.top_k(scores, size)[0], 0.0)
    return RankedBoxes(boxes, scores, valid, ops.where(valid, ops.take_along_axis(levels, order, axis=1), 0))


def _loosest(boxes, scores, levels, config: PostprocessConfig) -> Candidates:
    """S_1 of boxes that come best first, `n_1` places."""
    iou, count = config.thresholds[0], config.counts[0]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        length = tf.shape(scores)[1]
        rank = tf.where(scores > ABSENT / 2, tf.cast(length - tf.range(length), "float32"), 0.0)
        boxes, rank = keep_by_rank(boxes[:, :, None], rank[:, :, None], iou, count)
        place = tf.minimum(length - tf.cast(rank, "int32"), length - 1)
        scores = tf.where(rank > 0, tf.gather(scores, place, batch_dims=1), ABSENT)
        return Candidates(boxes, scores, tf.gather(levels, place, batch_dims=1))
    keep = nms_mask(boxes, scores, iou, count)
    scores, order = best_places(ops.where(keep, scores, ABSENT), count)
    boxes = ops.take_along_axis(boxes, order[..., None], axis=1)
    return Candidates(boxes, scores, ops.take_along_axis(levels, order, axis=1))
