"""Protocol `hosang`: one-to-one matching, best IoU first, recall integrated over IoU .5 to 1.

Hosang, Benenson, Dollar, Schiele, "What makes for effective detection proposals?", PAMI 2016, section 4. Their code
computes IoU between inclusive pixel boxes; here coordinates are continuous, as everywhere in this project.
"""

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.matching import counted_rows, overlaps, ranked_boxes
from zip_keras.evaluation.protocols import BUDGETS, in_ranges
from zip_keras.predictions.container import Predictions


def best_overlaps(ground_truth: GroundTruth, proposals: Predictions, budgets: tuple[int, ...] = BUDGETS) -> np.ndarray:
    """IoU of each object with the proposal assigned to it.

    Among the first n proposals of an image, the pair with the greatest IoU is assigned first, then the greatest of the
    rest, and so on. Among equal pairs, the one with the better proposal is first.

    Returns:
        float64 `[budgets, G]`; 0 for an object without a proposal, NaN for ignored objects.
    """
    result = np.full((len(budgets), len(ground_truth.xywh)), np.nan)
    for image_id, rows in zip(ground_truth.image_ids, counted_rows(ground_truth), strict=True):
        found = overlaps(ranked_boxes(proposals[image_id], max(budgets)), ground_truth.xywh[rows])  # [n, g]
        for number, budget in enumerate(budgets):
            result[number, rows] = _best_first(found[:budget])
    return result


def hosang_recall(overlap: np.ndarray, ground_truth: GroundTruth) -> np.ndarray:
    """Average recall `[1, 4 area ranges, budgets]` from `best_overlaps`; NaN if no object is in the range.

    AR = 2 * integral of recall(o) from .5 to 1. Recall is a step function of the overlaps, so the integral is exactly
    the mean of `max(overlap - .5, 0)`.
    """
    gain = 2 * np.maximum(overlap - 0.5, 0)  # [budgets, G]
    ranges = in_ranges(ground_truth.areas) & ground_truth.counted
    averages = [gain[:, chosen].mean(axis=1) if chosen.any() else np.full(len(gain), np.nan) for chosen in ranges]
    return np.stack(averages)[None]


def _best_first(found: np.ndarray) -> np.ndarray:
    """float64 `[g]`: the IoU of the pair assigned to each column when pairs are taken greatest first."""
    kept = np.zeros(found.shape[1])
    rows = np.flatnonzero((found > 0).any(axis=1))
    left = found[rows]
    for _ in range(min(left.shape)):
        row, column = np.unravel_index(np.argmax(left), left.shape)
        if left[row, column] <= 0:
            break
        kept[column] = left[row, column]
        left[row, :] = left[:, column] = 0
    return kept
