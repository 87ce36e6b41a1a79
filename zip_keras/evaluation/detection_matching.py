"""COCO's matching of detections with classes, in NumPy, with the same verdict on every detection as pycocotools.

For each image, class, area range and IoU threshold, COCOeval visits the detections in order of decreasing score. Each
takes the free object of its class that it overlaps most, a counted one before an ignored one. A detection is ignored if
it takes an ignored object, or takes none and its own area is outside the range.

Metrics, curves and bootstrap samples are computed from these verdicts.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth, places_by_id
from zip_keras.evaluation.matching import crowd_shares, overlaps
from zip_keras.evaluation.protocols import AREA_RANGES, DETECTION_LIMIT, IOU_THRESHOLDS
from zip_keras.predictions.container import Predictions

RIGHT, IGNORED, WRONG = 1, 0, -1
ALL_AREAS = {"all": AREA_RANGES["all"]}


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class over all images, best first; ties by image id, then by input order.

    Attributes:
        name, category: name and category id of the class.
        scores: float64 `[n]`.
        images: int64 `[n]`, image indices in the ground truth.
        ranks: int64 `[n]`, 0 for the best detection of this class in its image.
        verdicts: int8 `[ranges, T, n]`: `RIGHT`, `WRONG` or `IGNORED`.
        objects: int64 `[ranges, I]`, number of counted objects of each image.
    """

    name: str
    category: int
    scores: np.ndarray
    images: np.ndarray
    ranks: np.ndarray
    verdicts: np.ndarray
    objects: np.ndarray

    def take(self, places: np.ndarray) -> "ClassMatches":
        """The detections at these indices, in the order of `places`; the objects are unchanged."""
        columns = (self.scores[places], self.images[places], self.ranks[places])
        return ClassMatches(self.name, self.category, *columns, self.verdicts[:, :, places], self.objects)

    def at(self, rows: slice) -> "ClassMatches":
        """The verdicts for the first area range only, at some of the thresholds."""
        return dataclasses.replace(self, verdicts=self.verdicts[:1, rows], objects=self.objects[:1])


def match_detections(
    ground_truth: GroundTruth,
    detections: Predictions,
    thresholds: np.ndarray = IOU_THRESHOLDS,
    ranges: Mapping[str, tuple[float, float]] = ALL_AREAS,
    limit: int = DETECTION_LIMIT,
) -> list[ClassMatches]:
    """The verdicts for every class of the ground truth, in its order.

    Args:
        ground_truth: objects to match.
        detections: detections with category ids of `ground_truth.category_ids`; others are ignored.
        thresholds: float64 `[T]`, minimum IoU of a right detection.
        ranges: area ranges of counted objects in square pixels, both bounds included.
        limit: maximum number of detections per class and image.
    """
    order = places_by_id(ground_truth)
    parts = [detections[ground_truth.image_ids[number]] for number in order]
    images = np.repeat(order, [len(part) for part in parts])
    xywh, scores, categories = (
        np.concatenate([np.zeros(shape), *(getattr(part, name) for part in parts)])
        for name, shape in (("xywh", (0, 4)), ("scores", 0), ("categories", 0))
    )
    bounds = np.array(list(ranges.values()), np.float64)
    limits = np.minimum(thresholds, 1 - 1e-10)  # as in COCOeval.evaluateImg
    result = []
    for index, category in enumerate(ground_truth.category_ids):
        rows = np.flatnonzero(categories == category)
        starts = np.flatnonzero(np.diff(images[rows], prepend=-1))
        ranks = np.arange(len(rows)) - np.repeat(starts, np.diff([*starts, len(rows)]))
        rows, ranks = rows[ranks < limit], ranks[ranks < limit]
        result.append(_of_class(ground_truth, index, xywh[rows], scores[rows], images[rows], ranks, limits, bounds))
    return result


def _of_class(
    ground_truth: GroundTruth,
    index: int,
    xywh: np.ndarray,
    scores: np.ndarray,
    images: np.ndarray,
    ranks: np.ndarray,
    limits: np.ndarray,
    bounds: np.ndarray,
) -> ClassMatches:
    """The verdicts on the detections of class `index`, which are grouped by image, best first in each image."""
    objects = np.flatnonzero(ground_truth.classes == index)
    areas = ground_truth.areas[objects]
    counted = ground_truth.counted[objects] & (areas >= bounds[:, :1]) & (areas <= bounds[:, 1:])  # [ranges, g]
    image_of = ground_truth.image_of[objects]
    own_area = xywh[:, 2] * xywh[:, 3]
    outside = (own_area < bounds[:, :1]) | (own_area > bounds[:, 1:])  # [ranges, n]
    verdicts = np.where(outside, IGNORED, WRONG).astype(np.int8)[:, None].repeat(len(limits), axis=1)
    edges = np.flatnonzero(np.diff(images, prepend=-1, append=-1))
    for first, last in itertools.pairwise(edges):
        near = np.arange(*np.searchsorted(image_of, (images[first], images[first] + 1)))
        if not len(near):
            continue
        crowd = ground_truth.crowd[objects[near]]
        found = overlaps(xywh[first:last], ground_truth.xywh[objects[near]])
        if crowd.any():
            found[:, crowd] = crowd_shares(xywh[first:last], ground_truth.xywh[objects[near][crowd]])
        _match(found, counted[:, near], crowd, limits, verdicts[:, :, first:last])
    best_first = np.argsort(-scores, kind="stable")
    per_image = np.stack([np.bincount(image_of, of_range, len(ground_truth)) for of_range in counted])
    return ClassMatches(
        ground_truth.class_names[index],
        ground_truth.category_ids[index],
        scores[best_first],
        images[best_first],
        ranks[best_first],
        verdicts[:, :, best_first],
        per_image.astype(np.int64),
    )


def _match(found: np.ndarray, counted: np.ndarray, crowd: np.ndarray, limits: np.ndarray, verdicts: np.ndarray) -> None:
    """Set the verdicts `[ranges, T, n]` of the detections of one image that take an object.

    Args:
        found: float64 `[n, g]`, overlaps.
        counted: bool `[ranges, g]`; the other objects are ignored.
        crowd: bool `[g]`; crowds match any number of detections.
        limits: float64 `[T]`, IoU thresholds.
        verdicts: int8 `[ranges, T, n]`, changed in place.
    """
    free = np.ones((len(counted), len(limits), len(crowd)), bool)
    for number in np.flatnonzero(found.max(axis=1) >= limits.min()):
        fits = free & (found[number] >= limits[:, None])
        regular = fits & counted[:, None]
        right = regular.any(axis=-1)
        pool = np.where(right[..., None], regular, fits)
        taken = pool.any(axis=-1)
        # Reversed, because COCOeval takes the last of several objects with equal overlap, and argmax the first.
        best = len(crowd) - 1 - np.argmax(np.where(pool, found[number], -1.0)[..., ::-1], axis=-1)
        verdicts[taken, number] = np.where(right[taken], RIGHT, IGNORED)
        range_number, threshold = np.nonzero(taken & ~crowd[best])
        free[range_number, threshold, best[range_number, threshold]] = False
