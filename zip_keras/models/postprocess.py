"""Ranking of the scored boxes of all levels in one list, inside the graph. Paper section 3.4; AttractioNet.

All functions work on a batch, on any Keras backend. See `zip_keras.ops.nms` for the kernels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from zip_keras.config import PostprocessConfig
from zip_keras.levels import LEVELS
from zip_keras.ops import boxes as box_ops
from zip_keras.ops.converting import conversion_target
from zip_keras.ops.nms import (
    ABSENT,
    best_places,
    greedy_keep,
    keep_by_rank,
    nms_mask,
    sorted_by_score,
    without_nan,
)

# Below this threshold a level's own NMS drops so many boxes that the best candidates rarely determine the list.
_BEGINNING_IOU = 0.8


class RankedBoxes(NamedTuple):
    """One list per image, best first. Invalid places are 0.

    `boxes` float32 `[B, n, 4]`, `scores` float32 `[B, n]` (decreasing), `valid` bool `[B, n]`, `levels` int32 `[B, n]`
    (the level that found the box: 1, 2, 3 fine to coarse).
    """

    boxes: Any
    scores: Any
    valid: Any
    levels: Any


class Candidates(NamedTuple):
    """Boxes of several levels: `boxes [B, N, 4]`, `scores [B, N]` (`ABSENT` for empty places), `levels [B, N]`."""

    boxes: Any
    scores: Any
    levels: Any


def postprocess(boxes, scores, height, width, config: PostprocessConfig, levels: Sequence[int] = LEVELS) -> RankedBoxes:
    """Rank scored boxes in one list: NMS of each group, level bias, merging, box voting.

    Args:
        boxes: float32 `[B, N_g, 4]` for every group (one level at one scale), unclipped, in pixels of the image.
        scores: float32 `[B, N_g]`, P(object).
        height, width: size of the image, pixels. Boxes are clipped to it; those smaller than `config.min_size` are
            dropped.
        config: biases, thresholds and counts.
        levels: the level of each group, 1 to 3.
    """
    prepared = [_prepare(*group, height, width, config) for group in zip(boxes, scores, strict=True)]
    ranked = _ranked(prepared, levels, config)
    if config.vote_iou is None:
        return ranked
    voters = [_best(group_boxes, group_scores, config.post_nms_top_n) for group_boxes, group_scores in prepared]
    voting_boxes, weights = (ops.concatenate(parts, axis=1) for parts in zip(*voters, strict=True))
    return ranked._replace(boxes=vote(ranked.boxes, voting_boxes, weights, config.vote_iou))


def level_candidates(
    boxes, scores, height, width, config: PostprocessConfig, levels: Sequence[int] = LEVELS
) -> Candidates:
    """The boxes that the NMS of each group keeps, best first. The arguments are those of `postprocess`.

    A level's bias does not change which of its boxes are kept, so the biases can be calibrated on this result.
    """
    prepared = [_prepare(*group, height, width, config) for group in zip(boxes, scores, strict=True)]
    return _nms_levels(prepared, levels, config)


def merge(candidates: Candidates, config: PostprocessConfig) -> RankedBoxes:
    """Add the level biases to the scores and rank all candidates by multi-threshold NMS."""
    return _merge(candidates, config, config.counts[0])[0]


def _merge(candidates: Candidates, config: PostprocessConfig, places: int) -> tuple[RankedBoxes, "Stages"]:
    if any(config.level_bias):
        candidates = biased(candidates, ops.convert_to_tensor(config.level_bias, "float32"))
    return _multi_threshold(candidates.boxes, candidates.scores, candidates.levels, config, places)


def biased(candidates: Candidates, bias) -> Candidates:
    """Add the biases of the three levels, float32 `[3]`, to the scores and sort the candidates again, best first."""
    boxes, scores, levels = candidates
    raised = scores + ops.take(bias, ops.clip(levels - 1, 0, 2))
    return _best_first(Candidates(boxes, ops.where(scores > ABSENT / 2, raised, ABSENT), levels))


def vote(chosen, boxes, scores, iou: float):
    """Box voting: replace each chosen box by the score-weighted mean of the boxes with an IoU of at least `iou`.

    Gidaris and Komodakis, arXiv 1505.01749. The selection, order and scores of the boxes do not change.

    Args:
        chosen: float32 `[B, n, 4]`.
        boxes, scores: the voters, float32 `[B, N, 4]`, `[B, N]`; boxes with a score of 0 or less do not vote.
        iou: minimum IoU of a voter with the chosen box.
    """

    def of_image(arguments):  # one image at a time: the [n, N] overlaps of a batch need too much memory
        own, others, weights = arguments
        weights = ops.where(box_ops.iou(own[None], others[None])[0] >= iou, ops.maximum(weights, 0.0)[None], 0.0)
        total = ops.sum(weights, axis=1, keepdims=True)
        return ops.where(total > 0.0, ops.matmul(weights, others) / ops.maximum(total, 1e-12), own)

    return ops.map(of_image, (chosen, boxes, scores))


def _ranked(groups, levels: Sequence[int], config: PostprocessConfig) -> RankedBoxes:
    """Run NMS of each group, add the biases and merge the groups."""
    dynamic = keras.backend.backend() == "tensorflow" and conversion_target() != "litert"
    if dynamic and config.nms_iou >= _BEGINNING_IOU:
        return _ranked_by_the_best(groups, levels, config)
    return merge(_nms_levels(groups, levels, config), config)


def _ranked_by_the_best(groups, levels: Sequence[int], config: PostprocessConfig) -> RankedBoxes:
    """`_ranked` that usually compares only the best candidates of all levels, a sixth of all pairs in `zip_lite`.

    Only better boxes can suppress a box. So NMS of the best candidates gives the beginning of S_1, and a stage that
    finds its number of boxes there is complete. If a stage is not complete, all candidates are ranked. The result is
    the same in both cases.
    """
    import tensorflow as tf

    widest = min(config.counts[1], config.max_proposals) if len(config.counts) > 1 else 0
    places = min(config.counts[0], max(config.output_size, 4 * widest))  # of S_1
    ranking = tf.concat([scores + config.level_bias[level - 1] for (_, scores), level in _rows(groups, levels)], axis=1)
    total, count = tf.shape(ranking)[1], 3 * places // 2
    least = tf.math.top_k(ranking, tf.minimum(count, total)).values[:, -1:]
    best = []
    for (boxes, scores), level in _rows(groups, levels):
        inside = scores + config.level_bias[level - 1] >= least
        length = tf.reduce_max(tf.where(inside, tf.range(1, tf.shape(scores)[1] + 1)[None], 0))
        best.append((boxes[:, :length], tf.where(inside, scores, ABSENT)[:, :length]))
    ranked, stages = _merge(_nms_levels(best, levels, config), config, places)

    everything = (least[:, 0] < ABSENT / 2) | (total <= count)
    if places == config.counts[0]:
        known = everything | (stages.first == places)
    else:
        known = everything & (stages.first < places)
    complete = tf.reduce_all(known | stages.filled)
    # ONNX converters do not support branches, so this ranks all candidates, or one per group if nothing is missing.
    rest = [
        (boxes[:, :length], scores[:, :length])
        for boxes, scores in groups
        for length in (tf.where(complete, 1, tf.shape(scores)[1]),)
    ]
    others = merge(_nms_levels(rest, levels, config), config)
    return RankedBoxes(*(tf.where(complete, found, other) for found, other in zip(ranked, others, strict=True)))


def _rows(groups, levels: Sequence[int]):
    return zip(groups, levels, strict=True)


def _prepare(boxes, scores, height, width, config: PostprocessConfig):
    """Clip a group's boxes, mark small ones as absent, keep the best `pre_nms_top_n`: `[B, q, 4]`, `[B, q]`."""
    scores = without_nan(scores)
    if config.pre_nms_top_n not in (None, boxes.shape[1]):  # otherwise all are kept, or chosen before decoding
        boxes, scores = _best(boxes, scores, config.pre_nms_top_n)
    boxes = box_ops.clip(boxes, height, width)
    sides = boxes[..., 2:] - boxes[..., :2]
    fits = ops.logical_and(ops.min(sides, axis=-1) >= config.min_size, scores > ABSENT / 2)
    return boxes, ops.where(fits, scores, ABSENT)


def _best(boxes, scores, count: int):
    """The best `count` of boxes `[B, N, 4]` and scores `[B, N]`, best first; if N is smaller, absent places follow."""
    scores, order = best_places(scores, count)
    return ops.take_along_axis(boxes, order[..., None], axis=1), scores


def _nms_levels(groups, levels: Sequence[int], config: PostprocessConfig) -> Candidates:
    """NMS within each group: the kept boxes of all groups, best first, in `groups * post_nms_top_n` places."""
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
    """NMS of all groups in one call, with groups as classes: a third of the time of one call per group.

    The earlier of two equal scores comes first.
    """
    import tensorflow as tf

    boxes, scores = (tf.concat(parts, axis=1) for parts in zip(*groups, strict=True))
    lengths = [tf.shape(group_scores)[1] for _, group_scores in groups]
    group_of = tf.concat([tf.fill([length], group) for group, length in enumerate(lengths)], axis=0)
    order = tf.argsort(scores, axis=1, direction="DESCENDING", stable=True)
    count = tf.shape(scores)[1]
    rank = tf.cast(count - tf.argsort(order, axis=1), "float32")  # exact up to 16 million boxes
    rank = tf.where(scores > ABSENT / 2, rank, 0.0)
    ranks = rank[..., None] * tf.one_hot(group_of, len(groups))  # [B, N, groups]
    kept_boxes, kept_ranks = keep_by_rank(boxes[:, :, None], ranks, config.nms_iou, config.post_nms_top_n)
    number = tf.minimum(count - tf.cast(kept_ranks, "int32"), count - 1)  # index from the best
    place = tf.gather(order, number, batch_dims=1)
    scores = tf.where(kept_ranks > 0, tf.gather(scores, place, batch_dims=1), ABSENT)
    return Candidates(kept_boxes, scores, tf.gather(tf.constant(levels), tf.gather(group_of, place)))


def multi_threshold(boxes, scores, config: PostprocessConfig, levels=None) -> RankedBoxes:
    """AttractioNet's multi-threshold NMS: one list for every budget of proposals.

    1. S_1 = the best n_1 of NMS(all, t_1). 2. S_i = NMS(S_1, t_i), each from S_1. 3. The list starts with the best n_K
    of S_K. 4. For i = K-1 .. 1, boxes of S_i not yet in the list follow in score order until the list has n_i boxes.

    Args:
        boxes, scores: float32 `[B, N, 4]`, `[B, N]`, best first; absent places score `ABSENT`.
        config: `thresholds`, `counts` (both decreasing) and `max_proposals`.
        levels: int32 `[B, N]`, returned with the boxes; None = 0.

    Returns:
        `min(max_proposals, counts[0])` places. The scores are those of the returned boxes, sorted again in decreasing
        order.
    """
    if levels is None:
        levels = ops.zeros_like(scores, dtype="int32")
    return _multi_threshold(boxes, scores, levels, config, config.counts[0])[0]


class Stages(NamedTuple):
    """How a list was filled.

    `first` int32 `[B]`: number of boxes in S_1. `filled` bool `[B]`: every stage found its number of boxes.
    """

    first: Any
    filled: Any


def _multi_threshold(boxes, scores, levels, config: PostprocessConfig, places: int) -> tuple[RankedBoxes, Stages]:
    """`multi_threshold` on the first `places` of S_1, at least `output_size` of them."""
    thresholds, counts = config.thresholds, config.counts
    boxes, scores, levels = _loosest(boxes, scores, levels, config, places)  # S_1

    present = scores > ABSENT / 2
    first = ops.sum(ops.cast(present, "int32"), axis=1)
    filled = first >= config.output_size
    chosen = ops.zeros_like(present)
    number = ops.zeros_like(first)  # chosen so far
    stage = ops.full_like(scores, float(len(counts)))  # stage in which a box was chosen; len(counts) = none
    for i in reversed(range(len(thresholds))):
        # Fewer than n_i boxes have been chosen before, so the first n_i of S_i contain every box that can follow. No
        # box beyond max_proposals is returned.
        budget = min(counts[i], config.max_proposals)
        survives = present
        if i > 0:
            survives = nms_mask(boxes, scores, thresholds[i], budget)
            filled = ops.logical_and(filled, ops.sum(ops.cast(survives, "int32"), axis=1) == budget)
        fresh = ops.logical_and(survives, ops.logical_not(chosen))
        place = ops.cumsum(ops.cast(fresh, "int32"), axis=1)
        taken = ops.logical_and(fresh, place <= (budget - number)[:, None])
        number = number + ops.sum(ops.cast(taken, "int32"), axis=1)
        chosen = ops.logical_or(chosen, taken)
        stage = ops.where(taken, float(len(counts) - 1 - i), stage)
    # Places are already in score order, so sorting by stage, then by place, gives the list.
    rank = stage * places + ops.cast(ops.arange(places), "float32")[None]
    size = config.output_size
    negative_rank, order = ops.top_k(-rank, size)
    valid = -negative_rank < len(counts) * places
    boxes = ops.where(valid[..., None], ops.take_along_axis(boxes, order[..., None], axis=1), 0.0)
    scores = ops.where(valid, ops.take_along_axis(scores, order, axis=1), ABSENT)
    scores = ops.where(valid, ops.top_k(scores, size)[0], 0.0)
    levels = ops.where(valid, ops.take_along_axis(levels, order, axis=1), 0)
    return RankedBoxes(boxes, scores, valid, levels), Stages(first, filled)


def _loosest(boxes, scores, levels, config: PostprocessConfig, count: int) -> Candidates:
    """The first `count` places of S_1 for boxes sorted best first."""
    iou = config.thresholds[0]
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
