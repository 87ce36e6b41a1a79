"""Statistics over training seeds: the spread of a metric, and paired differences."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zip_keras.utils.optional import optional_import


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a metric over seeds.

    Attributes:
        n: number of seeds.
        mean: mean over the seeds.
        deviation: sample standard deviation (n - 1 in the denominator); None for a single seed.
    """

    n: int
    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.deviation is None else f"{self.mean:.3f} ± {self.deviation:.3f}"


@dataclass(frozen=True)
class SeedDifference:
    """Difference of a metric between A and B, paired by seed.

    Attributes:
        n: number of common seeds.
        mean: mean of the differences A - B.
        error: standard error of that mean; None for a single seed.
        low, high: 95 % confidence interval of the mean, by Student's t; None for a single seed.
    """

    n: int
    mean: float
    error: float | None
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """Text that says whether the interval excludes 0."""
        if self.low is None or self.high is None:
            return "one seed: the noise is not known"
        return "within the noise" if self.low <= 0 <= self.high else "larger than the noise"


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least one value."""
    return Spread(len(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> SeedDifference | None:
    """A - B over the common seeds; None if there are none.

    Differences are paired because a seed may fix the same initial weights, image order and augmentation for both, and
    their effect cancels. The interval assumes normal differences. It is not corrected for multiple comparisons: of
    twenty differences with true value 0, one is expected to be reported as larger than the noise.

    Args:
        a, b: metric by seed.

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
