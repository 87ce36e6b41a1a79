"""What repeating a training with other seeds says: the spread of a number, and the paired difference of two."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zip_keras.utils.optional import optional_import


@dataclass(frozen=True)
class Spread:
    """A number over seeds.

    Attributes:
        n: seeds.
        mean: over them.
        deviation: standard deviation of one seed's number (n - 1 in the denominator); None of a single seed.
    """

    n: int
    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.deviation is None else f"{self.mean:.3f} ± {self.deviation:.3f}"


@dataclass(frozen=True)
class SeedDifference:
    """How much greater A's number is than B's with the same seed.

    Attributes:
        n: seeds that both have.
        mean: of the differences A - B.
        error: standard error of that mean; None of a single seed.
        low, high: 95 % interval of the mean, by Student's t; None of a single seed.
    """

    n: int
    mean: float
    error: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Whether the interval leaves out 0."""
        if self.low is None or self.high is None:
            return "one seed: the noise is not known"
        return "within the noise" if self.low <= 0 <= self.high else "larger than the noise"


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    return Spread(len(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> SeedDifference | None:
    """A - B over the seeds that both have; None when there is none.

    Pairs, because a seed may fix the same for both (weights at the start; order and augmentation of images that are
    resized alike): what that makes easy or hard for both cancels. The interval takes differences as normal; it is made
    for each pair alone, so of twenty differences that are nothing one is expected to be called larger than the noise.

    Args:
        a, b: number by seed.

    Raises:
        UserError: there are several seeds and SciPy is not installed.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not differences:
        return None
    of = spread(differences)
    if of.deviation is None:
        return SeedDifference(1, of.mean, None, None, None)
    error = of.deviation / math.sqrt(of.n)
    stats = optional_import("scipy.stats", "a paired comparison over seeds", "train")
    half = float(stats.t.ppf(0.975, of.n - 1)) * error
    return SeedDifference(of.n, of.mean, error, of.mean - half, of.mean + half)
