"""Confidence intervals: bootstrap over images, and the paired comparison of two proposal sets.

Images are resampled, because the objects of one image are not independent.
"""

from dataclasses import dataclass

import numpy as np

_CHUNK = 100  # draws at once; a draw takes 8 bytes per image


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Comparison:
    """Difference of a metric between A and B on the same images.

    Attributes:
        difference: A - B with its confidence interval.
        p: two-sided p-value: probability of a difference at least as large if A and B were equally good.
    """

    difference: Interval
    p: float


def average_recall_interval(
    found: np.ndarray, objects: np.ndarray, draws: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Average recall with its bootstrap confidence interval (percentiles over samples of images with replacement).

    Args:
        found, objects: `[I]` each, from `found_per_image`.
        draws: number of bootstrap samples.
        confidence: confidence level, between 0 and 1.
        seed: random seed.
    """
    drawn = _drawn_ratios(found[None], objects, draws, seed)[0]
    return interval_of(found.sum() / objects.sum(), drawn, confidence)


def compare_recall(
    found_a: np.ndarray,
    found_b: np.ndarray,
    objects: np.ndarray,
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Paired comparison: both sets are resampled on the same images, so the difficulty of an image cancels.

    The interval is made of bootstrap percentiles. The p-value is from a permutation test that swaps A and B at random
    in each image.
    """
    drawn_a, drawn_b = _drawn_ratios(np.stack([found_a, found_b]), objects, draws, seed)
    gain = found_a - found_b
    rng = np.random.default_rng(seed + 1)
    as_large = 0
    for first in range(0, draws, _CHUNK):
        signs = rng.integers(0, 2, (min(_CHUNK, draws - first), len(gain))) * 2 - 1
        # A relative tolerance, because with few images many swaps give the same sum up to rounding.
        as_large += int(np.count_nonzero(np.abs(signs @ gain) >= abs(gain.sum()) * (1 - 1e-9)))
    value = gain.sum() / objects.sum()
    return Comparison(interval_of(value, drawn_a - drawn_b, confidence), (as_large + 1) / (draws + 1))


def _drawn_ratios(found: np.ndarray, objects: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """float64 `[sets, draws]`: sum of `found` divided by sum of `objects` for each sample of images."""
    rng = np.random.default_rng(seed)
    images = len(objects)
    ratios = []
    for first in range(0, draws, _CHUNK):
        times = rng.multinomial(images, np.full(images, 1 / images), min(_CHUNK, draws - first))  # [draws, I]
        total = times @ objects
        ratios.append((found @ times.T)[:, total > 0] / total[total > 0])  # undefined without objects
    return np.concatenate(ratios, axis=1)


def interval_of(value: float, drawn: np.ndarray, confidence: float) -> Interval:
    """A value with the percentile interval of its bootstrap samples."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))
