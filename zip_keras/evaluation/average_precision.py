"""Average precision of detections from their verdicts: COCO's twelve numbers, classes, curves. Without pycocotools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.evaluation.detection_matching import IGNORED, RIGHT, WRONG, ClassMatches, match_detections
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.protocols import AP_NAMES, AREA_RANGES, DETECTION_LIMIT, IOU_THRESHOLDS, RECALL_LEVELS
from zip_keras.predictions.container import Predictions

BUDGETS = (1, 10, DETECTION_LIMIT)  # detections of a class in an image, for AR@1, AR@10, AR@100


def fast_average_precision(ground_truth: GroundTruth, detections: Predictions) -> dict[str, float]:
    """COCO AP with classes: the numbers of `pycoco.coco_average_precision` to the last bit, without pycocotools.

    Returns:
        `AP AP50 AP75 AP-S AP-M AP-L AR@1 AR@10 AR@100 AR@100-S AR@100-M AR@100-L`; NaN where no object is in range.
    """
    return twelve_numbers(match_detections(ground_truth, detections, ranges=AREA_RANGES))


def twelve_numbers(matches: Sequence[ClassMatches]) -> dict[str, float]:
    """COCO's twelve numbers.

    Args:
        matches: from `match_detections` with COCO's thresholds and `AREA_RANGES`.
    """
    matches = sorted(matches, key=lambda of_class: of_class.category)  # the order in which pycocotools takes the mean
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
    """The numbers of `class_numbers` for groups of classes: objects are added, AP is the mean over classes."""
    result = {}
    for group, names in groups.items():
        rows = [by_class[name] for name in names]
        precisions = {of: mean_of_defined(np.array([row[of] for row in rows])) for of in ("AP", "AP50", "AP75")}
        result[group] = {"objects": sum(row["objects"] for row in rows), **precisions}
    return result


@dataclass(frozen=True)
class OperatingPoint:
    """Detections from one score on, of all classes together.

    Attributes:
        score: the least score that is kept.
        precision, recall, f1: of what is kept.
    """

    score: float
    precision: float
    recall: float
    f1: float


def best_operating_point(matches: Sequence[ClassMatches]) -> OperatingPoint | None:
    """The score at which F1 is greatest at the first threshold of `matches`; None where nothing is right."""
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
    """float64 `[ranges, T, 101]`: the greatest precision at `RECALL_LEVELS` or above; NaN without objects."""
    result = np.full((*of_class.verdicts.shape[:2], len(RECALL_LEVELS)), np.nan)
    for number, objects in enumerate(of_class.objects.sum(axis=1)):
        if objects:
            for threshold, verdicts in enumerate(of_class.verdicts[number]):
                result[number, threshold] = interpolated_precision(verdicts == RIGHT, verdicts == WRONG, objects)
    return result


def interpolated_precision(right: np.ndarray, wrong: np.ndarray, objects: float) -> np.ndarray:
    """float64 `[101]`: COCO's precision at `RECALL_LEVELS` of one list.

    Args:
        right, wrong: bool `[n]`, or the weight of each detection, best first.
        objects: counted ones, above 0.
    """
    rights, wrongs = np.cumsum(right, dtype=np.float64), np.cumsum(wrong, dtype=np.float64)
    precision = rights / (wrongs + rights + np.spacing(1))
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return envelope[np.searchsorted(rights / objects, RECALL_LEVELS, side="left")]


def mean_of_defined(values: np.ndarray) -> float:
    """The mean over what is not NaN; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if defined.size else float("nan")


def _recall(of_class: ClassMatches) -> np.ndarray:
    """float64 `[ranges, T, budgets]`; NaN without objects."""
    objects = of_class.objects.sum(axis=1).astype(np.float64)[:, None, None]
    right = of_class.verdicts == RIGHT
    found = np.stack([(right & (of_class.ranks < budget)).sum(axis=-1) for budget in BUDGETS], axis=-1)
    return np.divide(found, objects, out=np.full(found.shape, np.nan), where=objects > 0)
