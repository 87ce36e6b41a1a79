"""Constants of the protocols, as in pycocotools, and the names of the metrics."""

import numpy as np

# Identical to the Params of COCOeval: an object of exactly 32 x 32 counts as both small and medium.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10, endpoint=True)
AREA_RANGES = {"all": (0.0, 1e10), "S": (0.0, 32.0**2), "M": (32.0**2, 96.0**2), "L": (96.0**2, 1e10)}
BUDGETS = (10, 100, 500, 1000)
SIZE_BUDGET = 100  # number of proposals for AR by object size

# Maximum number of detections per class and image, and the twelve metrics of COCOeval.summarize().
DETECTION_LIMIT = 100
AP_NAMES = ("AP", "AP50", "AP75", "AP-S", "AP-M", "AP-L", "AR@1", "AR@10", "AR@100", "AR@100-S", "AR@100-M", "AR@100-L")
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)


def in_ranges(areas: np.ndarray) -> np.ndarray:
    """bool `[4, G]`: which of `AREA_RANGES` contain these areas `[G]`; both bounds are included."""
    bounds = np.array(list(AREA_RANGES.values()))
    return (areas >= bounds[:, :1]) & (areas <= bounds[:, 1:])


def named_averages(recall: np.ndarray, budgets: tuple[int, ...]) -> dict[str, float]:
    """Mean recall over the first axis under the names `AR@10` ... `AR@100-S`.

    Args:
        recall: float64 `[thresholds, 4 area ranges, budgets]`, NaN if no object is in the range.
        budgets: numbers of proposals; must contain `SIZE_BUDGET`.
    """
    averages = {f"AR@{budget}": float(recall[:, 0, m].mean()) for m, budget in enumerate(budgets)}
    at = budgets.index(SIZE_BUDGET)
    sizes = list(AREA_RANGES)[1:]
    return averages | {f"AR@{SIZE_BUDGET}-{size}": float(recall[:, a + 1, at].mean()) for a, size in enumerate(sizes)}
