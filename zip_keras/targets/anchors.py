"""What each anchor shall learn: matching, the gray class, equilibrium sampling. Paper sections 3.3 and 4.

Labels are the classes of a head's softmax: 0 background, 1 object, 2 gray; -1 takes no part in the loss.
Sampling is a pure function of the image's `seed` and the anchor's number, so a step gives the same result however a
batch is split over replicas, processes or backends.
"""

from typing import Any, NamedTuple

from keras import ops

from zip_keras.ops import boxes as box_ops
from zip_keras.config import TargetConfig

IGNORED, BACKGROUND, OBJECT, GRAY = -1, 0, 1, 2


class Assignment(NamedTuple):
    """For every anchor of an image: `labels` int32 `[B, N]`, `matches` int32 `[B, N]` (number of the best box)."""

    labels: Any
    matches: Any


class Sample(NamedTuple):
    """The anchors of one level that enter the loss.

    `anchors` int32 `[B, S]` (numbers within the level), `labels` int32 `[B, S]`, `used` float32 `[B, S]` (0 = padding).
    """

    anchors: Any
    labels: Any
    used: Any


def assign(anchors, targets, config: TargetConfig, *, gray: bool) -> Assignment:
    """Labels the anchors of all levels together.

    Args:
        anchors: float32 `[N, 4]`, pixels, or `[B, N, 4]` where images have their own: regressed boxes that are refined
            again. These need a positive size.
        targets: a batch's `boxes [B, M, 4]`, `classes [B, M]` (-1 = padding), `difficult`, `crowd` `[B, M]`,
            `size [B, 2]` (height, width of the image inside its padding).
        config: thresholds.
        gray: whether there is a gray class; without it the gray range is ignored.

    Difficult and crowd objects are neither positives nor negatives: what would be negative or gray next to them, judged
    by IoU for difficult ones and by the share of the anchor inside for crowds, is ignored. Anchors whose centre lies in
    the padding are ignored.
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
        negative = ops.logical_and(negative, best > 0.0)
    labels = ops.where(negative, BACKGROUND, IGNORED)
    if gray:
        low, high = config.gray_iou
        labels = ops.where(ops.logical_and(best >= low, best <= high), GRAY, labels)
    labels = ops.where(ops.logical_or(inside_crowd, near_difficult), IGNORED, labels)
    labels = ops.where(positive, OBJECT, labels)

    return Assignment(ops.where(on_image, ops.cast(labels, "int32"), IGNORED), matches)


def _is_best_anchor(overlap):
    """Whether an anchor is the best one of some wanted object: `[B, N, M]` -> bool `[B, N]`."""
    best_of_object = ops.max(overlap, axis=1, keepdims=True)
    return ops.any(ops.logical_and(overlap >= best_of_object, best_of_object > 0.0), axis=-1)


def sample(labels, seed, config: TargetConfig, *, gray: bool) -> Sample:
    """Draws the anchors of one level that enter the loss (METHOD section 5, `equilibrium`).

    Args:
        labels: int32 `[B, N]` of one level.
        seed: int32 `[B]`; pass a different one for every level.
        config: counts.
        gray: whether label 2 is sampled.

    Returns:
        `config.per_class` places for each class, in the order object, background, gray. A level without a positive
        keeps `config.quota` negatives (and half as many gray), so the loss stays finite and the image counts.
    """
    objects, object_count = _draw(labels, OBJECT, seed, config.per_class)
    backgrounds, background_count = _draw(labels, BACKGROUND, seed, config.per_class)
    if config.equilibrium:
        limit = ops.where(object_count > 0, 2 * object_count, config.quota)
        background_count = ops.minimum(background_count, limit)
    drawn = [(objects, object_count, OBJECT), (backgrounds, background_count, BACKGROUND)]
    if gray:
        grays, gray_count = _draw(labels, GRAY, seed, config.per_class)
        if config.equilibrium:
            gray_count = ops.minimum(gray_count, (object_count + background_count) // 2)
        drawn.append((grays, gray_count, GRAY))
    places = ops.arange(config.per_class, dtype="int32")[None]
    return Sample(
        ops.concatenate([numbers for numbers, _, _ in drawn], axis=1),
        ops.concatenate([ops.full_like(numbers, label) for numbers, _, label in drawn], axis=1),
        ops.concatenate([ops.cast(places < count[:, None], "float32") for _, count, _ in drawn], axis=1),
    )


def _draw(labels, label: int, seed, count: int):
    """Up to `count` random anchors of `label`: numbers int32 `[B, count]` (random order), how many are real `[B]`."""
    batch, anchors = ops.shape(labels)[0], ops.shape(labels)[1]
    priority = random_numbers(seed, ops.arange(anchors, dtype="int32"))  # [B, N]
    priority = ops.where(labels == label, priority, -1.0)
    padded = ops.concatenate([priority, ops.full((batch, count), -1.0)], axis=1)  # a level may have fewer anchors
    best, numbers = ops.top_k(padded, count)
    return ops.minimum(ops.cast(numbers, "int32"), anchors - 1), ops.sum(ops.cast(best >= 0.0, "int32"), axis=1)


def random_numbers(seed, counters):
    """Uniform numbers in [0, 1) that depend on nothing but (seed, counter): int32 `[B]`, `[N]` -> float32 `[B, N]`.

    An integer hash (C. Wellons, "lowbias32"); the same bits on every backend, device and batch layout.
    """
    x = ops.bitwise_xor(_scramble(ops.cast(seed, "int32"))[:, None], counters[None])
    x = _scramble(_scramble(x))
    return ops.cast(ops.bitwise_and(x, 0xFFFFFF), "float32") / 16777216.0


def _scramble(x):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        x = ops.bitwise_xor(x, _shifted(x, shift)) * factor  # wraps around
    return ops.bitwise_xor(x, _shifted(x, 16))


def _shifted(x, places: int):
    """A logical right shift of signed numbers."""
    return ops.bitwise_and(ops.right_shift(x, places), 2 ** (32 - places) - 1)
