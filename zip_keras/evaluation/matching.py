"""pycocotools' matching of proposals to objects in NumPy: bit-identical results, many times faster.

For each image, area range (here: group of objects) and IoU threshold, COCOeval visits the proposals in order of
decreasing score. Each takes the free object that it overlaps most, if the overlap reaches the threshold. COCOeval loops
over all pairs in Python. Three properties allow a faster exact computation:

- An ignored object never takes a proposal from a counted one, so recall needs only counted objects.
- A proposal that overlaps no object by 0.5 matches nothing. Only a few per cent of all proposals remain.
- Images, groups and thresholds are independent, so one step matches the k-th candidate of many images at once.

The match of a proposal does not depend on later proposals, so the rank at which an object is taken gives the recall for
every budget.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.protocols import BUDGETS, IOU_THRESHOLDS, in_ranges
from zip_keras.predictions.container import ImagePredictions, Predictions

NEVER = np.iinfo(np.int32).max
_BLOCK = 2_000_000  # elements per array of a block of images; 16 MB per array limit the working memory


@dataclass(frozen=True)
class ImageOverlaps:
    """The proposals of one image that overlap some counted object by at least the lowest threshold.

    Attributes:
        rows: int64 `[g]`, the objects' rows in the `GroundTruth`, in pycocotools' order.
        ranks: int64 `[k]`, increasing; 0 for the best proposal of the image.
        overlaps: float64 `[k, g]`, IoU.
    """

    rows: np.ndarray
    ranks: np.ndarray
    overlaps: np.ndarray


def overlaps(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """IoU in float64 with the same order of operations as pycocotools.

    Args:
        boxes, objects: float64 `[n, 4]` and `[g, 4]`, `[x, y, width, height]`.

    Returns:
        float64 `[n, g]`; 0 for boxes that do not overlap or have no area.
    """
    x, y, width, height = (column[:, None] for column in boxes.T)
    object_x, object_y, object_width, object_height = objects.T
    across = np.minimum(x + width, object_x + object_width) - np.maximum(x, object_x)  # [n, g]
    down = np.minimum(y + height, object_y + object_height) - np.maximum(y, object_y)
    common = across * down
    union = width * height + object_width * object_height - common
    return np.divide(common, union, out=np.zeros_like(common), where=(across > 0) & (down > 0))


def crowd_shares(boxes: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """The fraction of each box inside a crowd, float64 `[n, g]`, which pycocotools uses as overlap with crowds."""
    x, y, width, height = (column[:, None] for column in boxes.T)
    crowd_x, crowd_y, crowd_width, crowd_height = crowds.T
    across = np.minimum(x + width, crowd_x + crowd_width) - np.maximum(x, crowd_x)
    down = np.minimum(y + height, crowd_y + crowd_height) - np.maximum(y, crowd_y)
    common = across * down
    return np.divide(common, width * height, out=np.zeros_like(common), where=(across > 0) & (down > 0))


def match_ranks(
    ground_truth: GroundTruth,
    proposals: Predictions,
    limit: int = BUDGETS[-1],
    thresholds: np.ndarray = IOU_THRESHOLDS,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """The rank of the proposal that takes each object, for every group of objects and IoU threshold.

    Args:
        ground_truth: objects to match.
        proposals: proposals of the images.
        limit: maximum number of proposals per image.
        thresholds: float64 `[T]`, IoU thresholds.
        groups: bool `[groups, G]`; for each group the other objects are ignored. None: the four area ranges.

    Returns:
        int32 `[groups, T, G]`; `NEVER` if no proposal takes the object, or the object is ignored or not in the group.
        Recall with n proposals per image is the fraction of objects with rank < n.
    """
    groups = in_ranges(ground_truth.areas) if groups is None else groups
    ranks = np.full((len(groups), len(thresholds), len(ground_truth.xywh)), NEVER, np.int32)
    limits = np.minimum(thresholds, 1 - 1e-10)  # as in COCOeval.evaluateImg
    problems = len(groups) * len(limits)
    for block in _blocks(_image_overlaps(ground_truth, proposals, limit, float(limits.min())), problems):
        _match_block(block, groups, limits, ranks)
    return ranks


def recall_at(
    ranks: np.ndarray,
    ground_truth: GroundTruth,
    budgets: tuple[int, ...] = BUDGETS,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Recall float64 `[T, groups, budgets]` from `match_ranks` with the same `groups`; NaN for an empty group."""
    groups = in_ranges(ground_truth.areas) if groups is None else groups
    objects = (groups & ground_truth.counted).sum(axis=1)
    taken = np.stack([(ranks < budget).sum(axis=2) for budget in budgets], axis=-1)  # [groups, T, budgets]
    with np.errstate(invalid="ignore"):
        recall = taken / objects[:, None, None].astype(np.float64)
    return recall.transpose(1, 0, 2)


def ranked_boxes(image: ImagePredictions, limit: int) -> np.ndarray:
    """The best boxes, float64 `[n, 4]` xywh, n <= `limit`; ties by category, then by input order, as in COCOeval."""
    categories = image.categories
    if len(categories) and (categories != categories[0]).any():
        by_category = np.argsort(categories, kind="stable")
        return image.xywh[by_category[np.argsort(-image.scores[by_category], kind="stable")]][:limit]
    return image.xywh[:limit]


def counted_rows(ground_truth: GroundTruth) -> list[np.ndarray]:
    """For each image, int64 rows of its counted objects in the order of COCOeval, by category."""
    category = np.array([*ground_truth.category_ids, 0])[ground_truth.classes]
    order = np.lexsort((category, ground_truth.image_of))
    order = order[ground_truth.counted[order]]
    bounds = np.searchsorted(ground_truth.image_of[order], np.arange(len(ground_truth) + 1))
    return [order[first:last] for first, last in itertools.pairwise(bounds)]


def _image_overlaps(
    ground_truth: GroundTruth, proposals: Predictions, limit: int, lowest: float
) -> Iterator[ImageOverlaps]:
    for image_id, rows in zip(ground_truth.image_ids, counted_rows(ground_truth), strict=True):
        boxes = ranked_boxes(proposals[image_id], limit)
        if len(rows) and len(boxes):
            found = overlaps(boxes, ground_truth.xywh[rows])
            ranks = np.flatnonzero(found.max(axis=1) >= lowest)
            if len(ranks):
                yield ImageOverlaps(rows, ranks, found[ranks])


def _blocks(candidates: Iterator[ImageOverlaps], problems: int) -> Iterator[list[ImageOverlaps]]:
    """Yield blocks of images whose padded arrays have at most `_BLOCK` elements."""
    block: list[ImageOverlaps] = []
    most = widest = 0
    for image in candidates:
        most, widest = max(most, len(image.ranks)), max(widest, len(image.rows))
        if block and (len(block) + 1) * widest * max(most, problems) > _BLOCK:
            yield block
            block, most, widest = [], len(image.ranks), len(image.rows)
        block.append(image)
    if block:
        yield block


def _match_block(block: list[ImageOverlaps], groups: np.ndarray, limits: np.ndarray, ranks: np.ndarray) -> None:
    """Match all images of a block, candidate by candidate, and write into `ranks` `[groups, T, G]`."""
    block = sorted(block, key=lambda image: -len(image.ranks))  # images with a k-th candidate come first
    lengths = np.array([len(image.ranks) for image in block])
    images, most, widest = len(block), lengths[0], max(len(image.rows) for image in block)
    padded = np.zeros((most, images, widest))
    rank = np.zeros((most, images), np.int32)
    row = np.zeros((images, widest), np.int64)
    free = np.zeros((images, len(groups), len(limits), widest), bool)
    for i, image in enumerate(block):
        g = len(image.rows)
        # Reversed, because COCOeval takes the last of several objects with equal overlap, and argmax the first.
        padded[: lengths[i], i, :g] = image.overlaps[:, ::-1]
        rank[: lengths[i], i] = image.ranks
        row[i, :g] = image.rows[::-1]
        free[i, :, :, :g] = groups[:, None, image.rows[::-1]]
    for k in range(most):
        active = np.searchsorted(-lengths, -k, side="left")  # images with more than k candidates
        overlap = padded[k, :active, None, None, :]
        open_here = free[:active] & (overlap >= limits[:, None])  # [active, groups, T, widest]
        taken = np.nonzero(open_here.any(axis=3))
        if not len(taken[0]):
            continue
        image_number = taken[0]
        best = np.argmax(np.where(open_here[taken], padded[k, image_number], -1.0), axis=1)
        free[(*taken, best)] = False
        ranks[taken[1], taken[2], row[image_number, best]] = rank[k, image_number]
