"""Protocols computed by pycocotools: class-agnostic average recall and COCO average precision."""

import contextlib
import io
from typing import Any

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth, sorted_ids
from zip_keras.evaluation.protocols import AP_NAMES, AREA_RANGES, BUDGETS, IOU_THRESHOLDS
from zip_keras.predictions.container import Predictions
from zip_keras.utils.optional import optional_import


def coco_recall(ground_truth: GroundTruth, proposals: Predictions, budgets: tuple[int, ...] = BUDGETS) -> np.ndarray:
    """Class-agnostic recall by pycocotools (`useCats=0`), read from `eval["recall"]`.

    `COCOeval.summarize()` is wrong for these budgets and is not called. Ignored objects do not affect recall, because a
    proposal matches an ignored object only if no counted one is left for it.

    Returns:
        float64 `[10 IoU thresholds, 4 area ranges, budgets]`; NaN if no object is in the range.
    """
    evaluator = _evaluator(ground_truth, proposals)
    evaluator.params.useCats = 0
    evaluator.params.maxDets = sorted(budgets)
    evaluator.params.iouThrs = IOU_THRESHOLDS
    evaluator.params.areaRng = [list(bounds) for bounds in AREA_RANGES.values()]
    evaluator.params.areaRngLbl = list(AREA_RANGES)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
    recall = evaluator.eval["recall"][:, 0]  # [thresholds, ranges, budgets]: without categories there is one
    recall = recall[..., [sorted(budgets).index(budget) for budget in budgets]]
    return np.where(recall < 0, np.nan, recall)


def coco_average_precision(ground_truth: GroundTruth, detections: Predictions) -> dict[str, float]:
    """COCO AP with classes: the twelve metrics of `COCOeval.summarize()` with its default parameters.

    Difficult objects are ignored like objects outside an area range: the one detection that matches such an object is
    ignored. A crowd matches any number of detections, by the fraction of the detection inside it.

    Returns:
        `AP AP50 AP75 AP-S AP-M AP-L AR@1 AR@10 AR@100 AR@100-S AR@100-M AR@100-L`; NaN if no object is in the range.
    """
    evaluator = _evaluator(ground_truth, detections)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return {
        name: float(value) if value >= 0 else float("nan")
        for name, value in zip(AP_NAMES, evaluator.stats, strict=True)
    }


def _evaluator(ground_truth: GroundTruth, proposals: Predictions) -> Any:
    """A `COCOeval` with image and annotation ids that start at 1, because it counts an annotation of id 0 as missed.

    Images are numbered in the order of their ids, because AP depends on it if detections of two images have equal
    scores.
    """
    COCO = optional_import("pycocotools.coco", "this protocol", "train").COCO
    COCOeval = optional_import("pycocotools.cocoeval", "this protocol", "train").COCOeval

    truth, found = COCO(), COCO()
    images = [{"id": number + 1} for number in range(len(ground_truth))]
    number_of = {image_id: n + 1 for n, image_id in enumerate(sorted_ids(ground_truth.image_ids))}
    numbers = np.array([number_of[image_id] for image_id in ground_truth.image_ids], np.int64)
    proposed = {int(category) for part in proposals for category in np.unique(part.categories)}
    # With useCats=0 pycocotools still drops proposals whose category the ground truth does not list.
    categories = [{"id": category} for category in sorted({*ground_truth.category_ids, *proposed})]
    columns = {
        "image_id": numbers[ground_truth.image_of],
        "category_id": np.array(ground_truth.category_ids, np.int64)[ground_truth.classes],
        "bbox": ground_truth.xywh,
        "area": ground_truth.areas,
        "iscrowd": ground_truth.crowd.astype(int),
        "difficult": ground_truth.difficult.astype(int),
    }
    annotations = [
        dict(zip(("id", *columns), (number, *row), strict=True))
        for number, row in enumerate(zip(*(column.tolist() for column in columns.values()), strict=True), 1)
    ]
    truth.dataset = {"images": images, "categories": categories, "annotations": annotations}

    class Evaluator(COCOeval):  # type: ignore[misc, valid-type]
        """A COCOeval that also ignores difficult objects; pycocotools overwrites `ignore` by `iscrowd`."""

        def _prepare(self) -> None:
            super()._prepare()
            for annotation in annotations:
                annotation["ignore"] = annotation["iscrowd"] or annotation["difficult"]

    found.dataset = {"images": images, "categories": categories, "annotations": []}
    for image_id, number in number_of.items():
        of_image = proposals[image_id]
        for box, score, category in zip(
            of_image.xywh.tolist(), of_image.scores.tolist(), of_image.categories.tolist(), strict=True
        ):
            row = {"image_id": number, "category_id": category, "bbox": box, "score": score, "iscrowd": 0}
            row |= {"id": len(found.dataset["annotations"]) + 1, "area": box[2] * box[3]}
            found.dataset["annotations"].append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        return Evaluator(truth, found, "bbox")
