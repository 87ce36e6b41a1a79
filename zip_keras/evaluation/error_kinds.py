"""Costs of detection errors in average precision, after TIDE (Bolya et al., ECCV 2020, arXiv 2008.08115).

Every wrong detection has one kind, the first that applies:

- localisation: its IoU with an object of its class is between the background threshold and the IoU threshold.
- classification: its IoU with an object of another class reaches the IoU threshold.
- duplicate: its IoU with an object of its class reaches the IoU threshold, but a better detection has taken the object.
- background: its IoU with every object is at most the background threshold.
- both: all others. Class and location are wrong.

An object is missed if no detection takes it, and none would take it after its class or location is corrected. The cost
of a kind is the increase of AP if only its errors are corrected. A localisation or classification error becomes right
if it is the best detection of a free object; otherwise it is removed. Errors of the other kinds are removed. Missed
objects are removed from the ground truth. The costs do not add up to 1 - AP.
"""

from dataclasses import dataclass

import numpy as np

from zip_keras.evaluation.average_precision import interpolated_precision
from zip_keras.evaluation.ground_truth import GroundTruth, places_by_id
from zip_keras.evaluation.matching import crowd_shares, overlaps
from zip_keras.evaluation.protocols import DETECTION_LIMIT
from zip_keras.predictions.container import ImagePredictions, Predictions

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CORRECTED = ("classification", "localisation")  # these may become right; errors of other kinds are removed


@dataclass(frozen=True)
class ErrorKinds:
    """Costs and numbers of errors.

    Attributes:
        ap: average precision at one IoU threshold, mean over the classes that have objects.
        cost: increase of AP without the errors of each kind, at least 0.
        counts: number of errors of each kind.
        false_alarms: increase of AP if all wrong detections are ranked after all right ones.
        all_missed: increase of AP if all objects that were not found are removed from the ground truth.
    """

    ap: float
    cost: dict[str, float]
    counts: dict[str, int]
    false_alarms: float
    all_missed: float


@dataclass(frozen=True)
class JudgedImage:
    """The detections and the objects of one image.

    Attributes:
        xywh, scores: float64 `[n, 4]` and `[n]`, the evaluated detections, best first.
        classes: int64 `[n]`, class indices.
        verdicts: for each detection, "right", "ignored" or the kind of error.
        corrected: int64 `[n]`, the class of an error that becomes right when it is corrected; -1 for all others.
        rows: int64 `[g]`, rows of the counted objects in the ground truth.
        taken: int64 `[n]`, index in `rows` of the object that a right detection takes; -1 for all others.
        missed: bool `[g]`, objects that neither a right nor a corrected detection finds.
    """

    xywh: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    verdicts: list[str]
    corrected: np.ndarray
    rows: np.ndarray
    taken: np.ndarray
    missed: np.ndarray


def error_kinds(
    ground_truth: GroundTruth,
    detections: Predictions,
    threshold: float = 0.5,
    background: float = 0.1,
    limit: int = DETECTION_LIMIT,
) -> ErrorKinds:
    """Classify the errors and compute the cost of each kind.

    Difficult objects and crowds are ignored as in COCO AP: detections of them are not errors.

    Args:
        ground_truth: objects, at least one of them counted.
        detections: detections with category ids of `ground_truth.category_ids`; others are ignored.
        threshold: minimum IoU of a right detection.
        background: maximum IoU of a background detection.
        limit: maximum number of detections per image, over all classes.
    """
    images = [
        judge_image(ground_truth, number, detections, threshold, background, limit)
        for number in places_by_id(ground_truth)
    ]
    classes, scores, corrected = (
        np.concatenate([getattr(image, name) for image in images]) for name in ("classes", "scores", "corrected")
    )
    verdicts = np.array([verdict for image in images for verdict in image.verdicts], dtype="U16")
    right, wrong = verdicts == "right", np.isin(verdicts, KINDS)

    def count(classes: np.ndarray) -> np.ndarray:
        return np.bincount(classes, minlength=len(ground_truth.class_names))

    objects = count(ground_truth.classes[ground_truth.counted])
    missed = sum((count(ground_truth.classes[image.rows[image.missed]]) for image in images), np.zeros_like(objects))

    def ap(right: np.ndarray, wrong: np.ndarray, left: np.ndarray = objects, changed: np.ndarray = classes) -> float:
        return _mean_ap(changed, scores, right, wrong, left, np.flatnonzero(objects))

    before = ap(right, wrong)
    cost = {}
    for kind in KINDS:
        becomes_right = (verdicts == kind) & (corrected >= 0)
        after = ap(
            right | becomes_right,
            wrong & (verdicts != kind),
            objects - missed if kind == "missed" else objects,
            np.where(becomes_right, corrected, classes),
        )
        cost[kind] = max(after - before, 0.0)
    counts = {kind: int((verdicts == kind).sum()) for kind in KINDS[:-1]} | {"missed": int(missed.sum())}
    false_alarms = ap(right, np.zeros_like(wrong)) - before  # ranked after all right detections, they do not change AP
    return ErrorKinds(before, cost, counts, false_alarms, ap(right, wrong, count(classes[right])) - before)


def judge_image(
    ground_truth: GroundTruth,
    image: int,
    detections: Predictions,
    threshold: float = 0.5,
    background: float = 0.1,
    limit: int = DETECTION_LIMIT,
) -> JudgedImage:
    """Match the detections of image number `image` and classify their errors; other arguments as in `error_kinds`."""
    number = {category: index for index, category in enumerate(ground_truth.category_ids)}
    found = detections[ground_truth.image_ids[image]]
    found = found.choose(np.flatnonzero(np.isin(found.categories, list(number)))[:limit])
    classes = np.array([number[category] for category in found.categories.tolist()], np.int64)
    rows = np.arange(ground_truth.starts[image], ground_truth.starts[image + 1])
    counted = ground_truth.counted[rows]
    rows, ignored_rows = rows[counted], rows[~counted]
    iou = overlaps(found.xywh, ground_truth.xywh[rows])
    same = classes[:, None] == ground_truth.classes[rows]
    taken = _assign(np.where(same, iou, 0.0), threshold)
    used = np.isin(np.arange(len(rows)), taken)
    ignored = _on_ignored(ground_truth, ignored_rows, found, classes, taken < 0, threshold)
    missed = ~used
    verdicts: list[str] = []
    corrected = np.full(len(found), -1, np.int64)
    for place, target in enumerate(taken):
        kind = "right" if target >= 0 else "ignored"
        if target < 0 and not ignored[place]:
            kind, target = _kind(iou[place], same[place], used, threshold, background)
            if kind in CORRECTED and missed[target]:  # the best detection of a free object
                missed[target] = False
                corrected[place] = ground_truth.classes[rows[target]]
        verdicts.append(kind)
    return JudgedImage(found.xywh, found.scores, classes, verdicts, corrected, rows, taken, missed)


def _assign(iou: np.ndarray, threshold: float) -> np.ndarray:
    """int64 `[n]`: the free object that each detection, best first, overlaps most; -1 if below the threshold."""
    taken = np.full(len(iou), -1, np.int64)
    free = iou.copy()
    for place in np.flatnonzero(iou.max(axis=1, initial=0.0) >= threshold):
        best = int(free[place].argmax())
        if free[place, best] >= threshold:
            taken[place] = best
            free[:, best] = 0.0
    return taken


def _on_ignored(
    ground_truth: GroundTruth,
    rows: np.ndarray,
    found: ImagePredictions,
    classes: np.ndarray,
    open_: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """bool `[n]`: `open_` detections that match an ignored object (`rows`) of their class; crowds match any number."""
    if not len(rows) or not len(found):
        return np.zeros(len(found), bool)
    same = classes[:, None] == ground_truth.classes[rows]
    crowd = ground_truth.crowd[rows]
    boxes = ground_truth.xywh[rows]
    fits = np.where(same & ~crowd & open_[:, None], overlaps(found.xywh, boxes), 0.0)
    in_crowd = (same & crowd & (crowd_shares(found.xywh, boxes) >= threshold)).any(axis=1)
    return open_ & ((_assign(fits, threshold) >= 0) | in_crowd)


def _kind(iou: np.ndarray, same: np.ndarray, used: np.ndarray, threshold: float, background: float) -> tuple[str, int]:
    """The kind of a wrong detection, and the index of the object it would match; 0 if the kind has none.

    Args:
        iou, same, used: `[g]` each: overlap with each object of the image, whether the object is of the same class, and
            whether a right detection takes it.
        threshold, background: as in `error_kinds`.
    """
    if not len(iou):
        return "background", 0
    own, other = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
    if background <= own.max() <= threshold:
        return "localisation", int(own.argmax())
    if other.max() >= threshold:
        return "classification", int(other.argmax())
    if (own * used).max() >= threshold:
        return "duplicate", 0
    return ("background" if iou.max() <= background else "both"), 0


def _mean_ap(
    classes: np.ndarray,
    scores: np.ndarray,
    right: np.ndarray,
    wrong: np.ndarray,
    objects: np.ndarray,
    asked: np.ndarray,
) -> float:
    """AP over 101 recall levels, mean over the classes in `asked`.

    A class without objects has AP 0 if it has detections; otherwise it is excluded.

    Args:
        classes, scores, right, wrong: `[n]` each, the detections; ignored ones are neither right nor wrong.
        objects: int64 `[C]`, number of objects of each class.
        asked: indices of the classes to average.
    """
    values = []
    for number in asked:
        chosen = np.flatnonzero((classes == number) & (right | wrong))
        order = chosen[np.argsort(-scores[chosen], kind="stable")]
        if objects[number]:
            values.append(float(interpolated_precision(right[order], wrong[order], objects[number]).mean()))
        elif len(chosen):
            values.append(0.0)
    return float(np.mean(values)) if values else 0.0
