"""Average precision from verdicts, without pycocotools: COCO's twelve metrics, per-class metrics, operating points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.evaluation.detection_matching import IGNORED, RIGHT, WRONG, ClassMatches, match_detections
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.protocols import AP_NAMES, AREA_RANGES, DETECTION_LIMIT, IOU_THRESHOLDS, RECALL_LEVELS
from zip_keras.predictions.container import Predictions

BUDGETS = (1, 10, DETECTION_LIMIT)  # detections per class and image, for AR@1, AR@10, AR@100


def fast_average_precision(ground_truth: GroundTruth, detections: Predictions) -> dict[str, float]:
    """COCO AP with classes: bit-identical to `pycoco.coco_average_precision`, without pycocotools.

    Returns:
        `AP AP50 AP75 AP-S AP-M AP-L AR@1 AR@10 AR@100 AR@100-S AR@100-M AR@100-L`; NaN if no object is in the range.
    """
    return twelve_numbers(match_detections(ground_truth, detections, ranges=AREA_RANGES))


def twelve_numbers(matches: Sequence[ClassMatches]) -> dict[str, float]:
    """COCO's twelve metrics.

    Args:
        matches: from `match_detections` with COCO's thresholds and `AREA_RANGES`.
    """
    matches = sorted(matches, key=lambda of_class: of_class.category)  # pycocotools averages in this order
    precision = np.stack([precision_at_recall_levels(of_class) for of_class in matches], axis=-1)  # [ranges, T, R, C]
    recall = np.stack([_recall(of_class) for of_class in matches], axis=-1)  # [ranges, T, budgets, C]
    rows = [int(np.argmin(np.abs(IOU_THRESHOLDS - threshold))) for threshold in (0.5, 0.75)]
    precisions = [precision[0], *(precision[0, row] for row in rows), *precision[1:]]
    recalls = [*(recall[0, :, m] for m in range(len(BUDGETS))), *recall[1:, :, -1]]
    return dict(zip(AP_NAMES, map(mean_of_defined, [*precisions, *recalls]), strict=True))


def class_numbers(matches: Sequence[ClassMatches]) -> dict[str, dict[str, float]]:
    """`{class: {"objects", "AP", "AP50", "AP75"}}` over objects of all areas; NaN for a class without objects.

    Args:
        matches: from `match_detections` with COCO's thresholds.
    """
    rows = {f"AP{100 * threshold:.0f}": int(np.argmin(np.abs(IOU_THRESHOLDS - threshold))) for threshold in (0.5, 0.75)}
    result = {}
    for of_class in matches:
        precision = precision_at_recall_levels(of_class)[0]  # [T, R]
        result[of_class.name] = {
            "objects": int(of_class.objects[0].sum()),
            "AP": mean_of_defined(precision),
            **{name: mean_of_defined(precision[row]) for name, row in rows.items()},
        }
    return result


def group_numbers(
    by_class: Mapping[str, Mapping[str, float]], groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """The metrics of `class_numbers` for groups of classes: objects are summed, AP is averaged over classes."""
    result = {}
    for group, names in groups.items():
        rows = [by_class[name] for name in names]
        precisions = {of: mean_of_defined(np.array([row[of] for row in rows])) for of in ("AP", "AP50", "AP75")}
        result[group] = {"objects": sum(row["objects"] for row in rows), **precisions}
    return result


@dataclass(frozen=True)
class OperatingPoint:
    """Metrics of the detections of all classes above a score threshold.

    Attributes:
        score: minimum score of the kept detections.
        precision, recall, f1: metrics of the kept detections.
    """

    score: float
    precision: float
    recall: float
    f1: float


def best_operating_point(matches: Sequence[ClassMatches]) -> OperatingPoint | None:
    """The score threshold with the greatest F1, at the first IoU threshold; None if no detection is right."""
    scores = np.concatenate([of_class.scores for of_class in matches])
    verdicts = np.concatenate([of_class.verdicts[0, 0] for of_class in matches])
    order = np.argsort(-scores, kind="stable")
    scores, verdicts = scores[order], verdicts[order]
    objects = sum(int(of_class.objects[0].sum()) for of_class in matches)
    right, shown = np.cumsum(verdicts == RIGHT), np.cumsum(verdicts != IGNORED)
    last_of_score = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    f1 = np.where(last_of_score, 2 * right / np.maximum(shown + objects, 1), 0.0)
    if not len(f1) or not f1.max():
        return None
    best = int(f1.argmax())
    precision, recall = right[best] / shown[best], right[best] / objects
    return OperatingPoint(float(scores[best]), float(precision), float(recall), float(f1[best]))


def precision_at_recall_levels(of_class: ClassMatches) -> np.ndarray:
    """Interpolated precision at `RECALL_LEVELS`, float64 `[ranges, T, 101]`; NaN without objects."""
    result = np.full((*of_class.verdicts.shape[:2], len(RECALL_LEVELS)), np.nan)
    for number, objects in enumerate(of_class.objects.sum(axis=1)):
        if objects:
            for threshold, verdicts in enumerate(of_class.verdicts[number]):
                result[number, threshold] = interpolated_precision(verdicts == RIGHT, verdicts == WRONG, objects)
    return result


def interpolated_precision(right: np.ndarray, wrong: np.ndarray, objects: float) -> np.ndarray:
    """float64 `[101]`: COCO's interpolated precision at `RECALL_LEVELS` for one list of detections.

    Args:
        right, wrong: bool `[n]`, or the weight of each detection, best first.
        objects: number of counted objects, above 0.
    """
    rights, wrongs = np.cumsum(right, dtype=np.float64), np.cumsum(wrong, dtype=np.float64)
    precision = rights / (wrongs + rights + np.spacing(1))
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return envelope[np.searchsorted(rights / objects, RECALL_LEVELS, side="left")]


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if defined.size else float("nan")


def _recall(of_class: ClassMatches) -> np.ndarray:
    """Recall float64 `[ranges, T, budgets]`; NaN without objects."""
    objects = of_class.objects.sum(axis=1).astype(np.float64)[:, None, None]
    right = of_class.verdicts == RIGHT
    found = np.stack([(right & (of_class.ranks < budget)).sum(axis=-1) for budget in BUDGETS], axis=-1)
    return np.divide(found, objects, out=np.full(found.shape, np.nan), where=objects > 0)
