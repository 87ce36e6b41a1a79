"""Confidence intervals of average precision: bootstrap over images, and the paired comparison of two detection files.

Images are sampled with replacement, and each detection counts as often as its image was drawn. AP is recomputed for
every sample, because precision is not a mean over images.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from zip_keras.evaluation.average_precision import interpolated_precision, mean_of_defined, precision_at_recall_levels
from zip_keras.evaluation.bootstrap import Comparison, Interval, interval_of
from zip_keras.evaluation.detection_matching import RIGHT, WRONG, ClassMatches

METRICS = {"AP50": slice(1), "AP": slice(None)}  # selection of COCO's ten thresholds, for `ClassMatches.at`


def average_precision_interval(
    matches: Sequence[ClassMatches], draws: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """AP over all areas with its bootstrap confidence interval (percentiles over samples of images with replacement).

    Args:
        matches: from `match_detections`; AP is the mean over their thresholds and classes.
        draws: number of bootstrap samples.
        confidence: confidence level, between 0 and 1.
        seed: random seed.
    """
    return interval_of(_value(matches), _drawn([matches], draws, seed)[0], confidence)


def compare_average_precision(
    matches_a: Sequence[ClassMatches],
    matches_b: Sequence[ClassMatches],
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Paired comparison: both sets are resampled on the same images, so the difficulty of an image cancels.

    The interval is made of bootstrap percentiles. The p-value is from a permutation test that swaps A and B at random
    in each image.
    """
    drawn_a, drawn_b = _drawn([matches_a, matches_b], draws, seed)
    value = _value(matches_a) - _value(matches_b)
    together = [_both(of_a, of_b) for of_a, of_b in zip(matches_a, matches_b, strict=True)]
    rng = np.random.default_rng(seed + 1)
    as_large = 0
    everything = np.ones(matches_a[0].objects.shape[1])
    for _ in range(draws):
        swap = rng.integers(0, 2, len(everything)).astype(bool)
        first, second = (
            _average_precision([m for m, _ in together], everything, [(b != swap[m.images]) == s for m, b in together])
            for s in (False, True)
        )
        as_large += abs(first - second) >= abs(value) * (1 - 1e-9)
    return Comparison(interval_of(value, drawn_a - drawn_b, confidence), (as_large + 1) / (draws + 1))


def _value(matches: Sequence[ClassMatches]) -> float:
    return mean_of_defined(np.stack([precision_at_recall_levels(of_class)[0] for of_class in matches], axis=-1))


def _drawn(sets: Sequence[Sequence[ClassMatches]], draws: int, seed: int) -> np.ndarray:
    """float64 `[sets, draws]`: AP of every set on the same samples; samples without objects are dropped."""
    shortened = [[_without_tail(of_class) for of_class in matches] for matches in sets]
    rng = np.random.default_rng(seed)
    images = sets[0][0].objects.shape[1]
    rows = []
    for _ in range(draws):
        times = rng.multinomial(images, np.full(images, 1 / images)).astype(np.float64)
        rows.append([_average_precision(matches, times) for matches in shortened])
    table = np.array(rows).T
    return table[:, ~np.isnan(table).any(axis=0)]


def _average_precision(
    matches: Sequence[ClassMatches], times: np.ndarray, chosen: Sequence[np.ndarray] | None = None
) -> float:
    """AP where image i counts `times[i]` times, float64 `[I]`, with only the `chosen` detections of each class."""
    values: list[float] = []
    for number, of_class in enumerate(matches):
        objects = float(of_class.objects[0] @ times)
        if objects:
            weight = times[of_class.images] * (1.0 if chosen is None else chosen[number])
            values += _of_thresholds(of_class, weight, objects)
    return float(np.mean(values)) if values else float("nan")


def _of_thresholds(of_class: ClassMatches, weight: np.ndarray, objects: float) -> Iterator[float]:
    for verdicts in of_class.verdicts[0]:
        precision = interpolated_precision(weight * (verdicts == RIGHT), weight * (verdicts == WRONG), objects)
        yield float(precision.mean())


def _without_tail(of_class: ClassMatches) -> ClassMatches:
    """Drop the detections after the last right one; they do not change AP and may be many."""
    right = np.flatnonzero((of_class.verdicts[0] == RIGHT).any(axis=0))
    return of_class.take(np.arange(right[-1] + 1 if len(right) else 0))


def _both(of_a: ClassMatches, of_b: ClassMatches) -> tuple[ClassMatches, np.ndarray]:
    """Merge the detections of A and B, best first; return them and which are of B, bool `[n]`."""
    of_a, of_b = _without_tail(of_a), _without_tail(of_b)
    together = ClassMatches(
        of_a.name,
        of_a.category,
        np.concatenate([of_a.scores, of_b.scores]),
        np.concatenate([of_a.images, of_b.images]),
        np.concatenate([of_a.ranks, of_b.ranks]),
        np.concatenate([of_a.verdicts, of_b.verdicts], axis=2),
        of_a.objects,
    )
    order = np.lexsort((together.images, -together.scores))
    return together.take(order), order >= len(of_a.scores)
