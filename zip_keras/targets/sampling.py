"""Equilibrium sampling of the anchors that enter the loss. Paper section 4.

Sampling is a pure function of the image's `seed` and the anchor's number, so a step gives the same result for every
split of a batch over replicas and processes, and on every backend.
"""

from typing import Any, NamedTuple

from keras import ops

from zip_keras.config import TargetConfig
from zip_keras.targets.matching import BACKGROUND, GRAY, OBJECT


class Sample(NamedTuple):
    """The anchors of one level that enter the loss.

    `anchors` int32 `[B, S]` (indices within the level), `labels` int32 `[B, S]`, `used` float32 `[B, S]` (0 = padding).
    """

    anchors: Any
    labels: Any
    used: Any


def sample(labels, seed, config: TargetConfig, *, gray: bool) -> Sample:
    """Draw the anchors of one level that enter the loss (`equilibrium` in docs/method.md, Training strategies).

    Args:
        labels: int32 `[B, N]` of one level.
        seed: int32 `[B]`; pass a different one for every level.
        config: counts.
        gray: whether label 2 is sampled.

    Returns:
        `config.per_class` places for each class, in the order object, background, gray. There are at most half as many
        gray anchors as objects and backgrounds together. With `config.equilibrium` there are at most twice as many
        backgrounds as objects, and at most `config.quota` backgrounds on a level without objects, so that every image
        contributes.
    """
    objects, object_count = _draw(labels, OBJECT, seed, config.per_class)
    backgrounds, background_count = _draw(labels, BACKGROUND, seed, config.per_class)
    if config.equilibrium:
        limit = ops.where(object_count > 0, 2 * object_count, config.quota)
        background_count = ops.minimum(background_count, limit)
    drawn = [(objects, object_count, OBJECT), (backgrounds, background_count, BACKGROUND)]
    if gray:
        grays, gray_count = _draw(labels, GRAY, seed, config.per_class)
        gray_count = ops.minimum(gray_count, (object_count + background_count) // 2)
        drawn.append((grays, gray_count, GRAY))
    places = ops.arange(config.per_class, dtype="int32")[None]
    return Sample(
        ops.concatenate([numbers for numbers, _, _ in drawn], axis=1),
        ops.concatenate([ops.full_like(numbers, label) for numbers, _, label in drawn], axis=1),
        ops.concatenate([ops.cast(places < count[:, None], "float32") for _, count, _ in drawn], axis=1),
    )


def _draw(labels, label: int, seed, count: int):
    """Up to `count` random anchors of `label`: indices int32 `[B, count]` in random order, and their number `[B]`."""
    batch, anchors = ops.shape(labels)[0], ops.shape(labels)[1]
    priority = random_numbers(seed, ops.arange(anchors, dtype="int32"))  # [B, N]
    priority = ops.where(labels == label, priority, -1.0)
    padded = ops.concatenate([priority, ops.full((batch, count), -1.0)], axis=1)  # a level may have fewer anchors
    best, numbers = ops.top_k(padded, count)
    return ops.minimum(ops.cast(numbers, "int32"), anchors - 1), ops.sum(ops.cast(best >= 0.0, "int32"), axis=1)


def random_numbers(seed, counters):
    """Uniform numbers in [0, 1) that depend only on (seed, counter): int32 `[B]`, `[N]` -> float32 `[B, N]`.

    They are an integer hash (C. Wellons, "lowbias32") with the same bits on every backend, device and batch layout.
    """
    x = ops.bitwise_xor(_scramble(ops.cast(seed, "int32"))[:, None], counters[None])
    x = _scramble(_scramble(x))
    return ops.cast(ops.bitwise_and(x, 0xFFFFFF), "float32") / 16777216.0


def _scramble(x):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        x = ops.bitwise_xor(x, _shifted(x, shift)) * factor  # wraps around
    return ops.bitwise_xor(x, _shifted(x, 16))


def _shifted(x, places: int):
    """Logical right shift of signed integers."""
    return ops.bitwise_and(ops.right_shift(x, places), 2 ** (32 - places) - 1)
