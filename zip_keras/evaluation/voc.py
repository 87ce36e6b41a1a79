"""PASCAL VOC average precision of detections, as in the development kit."""

from dataclasses import dataclass

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.matching import overlaps
from zip_keras.predictions.container import Predictions

RECALL_LEVELS = np.linspace(0, 1, 11)


@dataclass(frozen=True)
class PrecisionRecall:
    """Curve of one class: precision and recall float64 `[n]` after each detection that is not ignored."""

    precision: np.ndarray
    recall: np.ndarray

    def average_precision(self, points: str) -> float:
        """Area under the curve: `eleven` recall levels (VOC 2007) or `every` level (2010 and later)."""
        if points == "eleven":
            best = [self.precision[self.recall >= level].max(initial=0.0) for level in RECALL_LEVELS]
            return float(np.mean(best))
        if points != "every":
            raise ValueError(f"points {points!r}: choose eleven or every")
        recall = np.concatenate([[0.0], self.recall])
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(recall) * envelope))


def voc_average_precision(
    ground_truth: GroundTruth, detections: Predictions, points: str = "every", threshold: float = 0.5
) -> dict[str, float]:
    """AP of each class, and their mean under `mAP`.

    Args:
        ground_truth: objects; difficult and crowd objects are ignored, whether they are found or not.
        detections: detections with category ids of `ground_truth.category_ids`.
        points: `eleven` or `every`, see `PrecisionRecall.average_precision`.
        threshold: minimum IoU of a right detection.

    Returns:
        `{class name: AP, ..., "mAP": mean over the classes that have objects}`; NaN for a class without objects.
    """
    result = {
        name: precision_recall(ground_truth, detections, index, threshold).average_precision(points)
        if (ground_truth.counted & (ground_truth.classes == index)).any()
        else float("nan")
        for index, name in enumerate(ground_truth.class_names)
    }
    measured = [value for value in result.values() if not np.isnan(value)]
    return result | {"mAP": float(np.mean(measured)) if measured else float("nan")}


def precision_recall(
    ground_truth: GroundTruth, detections: Predictions, class_index: int, threshold: float = 0.5
) -> PrecisionRecall:
    """The curve of one class over all images.

    Detections are visited in order of decreasing score. Each is assigned to the object that it overlaps most; if
    another detection has taken that object, it is a false positive.
    """
    category = ground_truth.category_ids[class_index]
    counted = ground_truth.counted
    scores, verdicts = [np.zeros(0)], [np.zeros(0, np.int8)]
    for image_id, image_rows in ground_truth.rows():
        of_image = detections[image_id]
        chosen = of_image.categories == category
        rows = np.arange(image_rows.start, image_rows.stop)
        rows = rows[ground_truth.classes[rows] == class_index]
        found = overlaps(of_image.xywh[chosen], ground_truth.xywh[rows])
        scores.append(of_image.scores[chosen])
        verdicts.append(_verdicts(found, counted[rows], threshold))
    verdict = np.concatenate(verdicts)[np.argsort(-np.concatenate(scores), kind="stable")]
    verdict = verdict[verdict != 0]
    right = np.cumsum(verdict > 0)
    objects = np.count_nonzero(counted & (ground_truth.classes == class_index))
    return PrecisionRecall(right / np.maximum(np.arange(1, len(verdict) + 1), 1), right / max(objects, 1))


def _verdicts(found: np.ndarray, counted: np.ndarray, threshold: float) -> np.ndarray:
    """int8 `[n]` for detections in order of score: 1 right, -1 wrong, 0 if assigned to an ignored object."""
    verdicts = np.full(len(found), -1, np.int8)
    if not found.size:
        return verdicts
    taken = np.zeros(len(counted), bool)
    for number, best in enumerate(found.argmax(axis=1)):
        if found[number, best] < threshold:
            continue
        if not counted[best]:
            verdicts[number] = 0
        elif not taken[best]:
            verdicts[number] = 1
            taken[best] = True
    return verdicts
