"""Recall against IoU and against the number of proposals (paper Figure 7), by groups of objects, and per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.matching import NEVER, match_ranks, recall_at
from zip_keras.evaluation.protocols import BUDGETS, IOU_THRESHOLDS, in_ranges
from zip_keras.predictions.container import Predictions

FINE_THRESHOLDS = np.linspace(0.5, 1.0, 51)
FINE_THRESHOLDS[:46:5] = IOU_THRESHOLDS  # bit-identical to the thresholds of AR
NUMBERS = np.unique(np.geomspace(1, 2000, 60).round().astype(int))
_RANKS = 32_000_000  # 4-byte elements in memory at once; many classes of a large dataset are processed in parts
FIGURE_7_BUDGETS, FIGURE_7_THRESHOLDS = (300, 1500), (0.5, 0.8)


@dataclass(frozen=True)
class Curves:
    """Recall of one proposal set over all objects, matched as in protocol `coco`.

    Attributes:
        name: name of the method, for legends and tables.
        ranks: int32 `[51, G]`, rank of the proposal that takes an object at each of `FINE_THRESHOLDS`; `NEVER` if none.
        objects: number of counted objects.
    """

    name: str
    ranks: np.ndarray
    objects: int

    def against_iou(self, budget: int) -> np.ndarray:
        """float64 `[51]`: recall at `FINE_THRESHOLDS` with `budget` proposals per image."""
        return (self.ranks < budget).sum(axis=1) / self.objects

    def against_number(self, threshold: float) -> np.ndarray:
        """float64 `[len(NUMBERS)]`: recall at one IoU threshold with 1 to 2000 proposals per image."""
        row = int(np.argmin(np.abs(FINE_THRESHOLDS - threshold)))
        return self._cumulated[row] / self.objects

    def average_against_number(self) -> np.ndarray:
        """float64 `[len(NUMBERS)]`: average recall (mean over IoU .5 to .95) against the number of proposals."""
        return self._cumulated[:46:5].mean(axis=0) / self.objects

    @cached_property
    def _cumulated(self) -> np.ndarray:
        """int64 `[51, len(NUMBERS)]`: objects taken by the first n proposals."""
        return np.stack([np.searchsorted(np.sort(row), NUMBERS, side="left") for row in self.ranks])


def recall_curves(ground_truth: GroundTruth, proposals: Predictions, name: str | None = None) -> Curves:
    """Match proposals once for all curves of `Curves`; `ground_truth` must contain a counted object."""
    everything = np.ones((1, len(ground_truth.xywh)), bool)
    ranks = match_ranks(ground_truth, proposals, int(NUMBERS[-1]), FINE_THRESHOLDS, everything)[0]
    return Curves(name or proposals.name, ranks, int(ground_truth.counted.sum()))


def recall_of_groups(
    ground_truth: GroundTruth,
    proposals: Predictions,
    groups: dict[str, np.ndarray],
    budgets: tuple[int, ...] = BUDGETS,
) -> dict[str, dict[int, float]]:
    """Average recall of groups of objects; for each group the other objects are ignored.

    Args:
        ground_truth: objects.
        proposals: proposals of the images.
        groups: name -> bool `[G]`; see `class_groups`, `groups_of_classes`, `size_groups`.
        budgets: numbers of proposals per image.

    Returns:
        `{group: {budget: AR}}`; NaN if a group has no counted object.
    """
    at_once = max(_RANKS // (len(IOU_THRESHOLDS) * max(len(ground_truth.xywh), 1)), 1)
    result = {}
    names = list(groups)
    for start in range(0, len(names), at_once):
        chosen = names[start : start + at_once]
        table = np.stack([groups[name] for name in chosen])
        ranks = match_ranks(ground_truth, proposals, max(budgets), groups=table)
        recall = recall_at(ranks, ground_truth, budgets, table).mean(axis=0)  # [groups, budgets]
        for name, row in zip(chosen, recall, strict=True):
            result[name] = dict(zip(budgets, map(float, row), strict=True))
    return result


def size_groups(ground_truth: GroundTruth) -> dict[str, np.ndarray]:
    """The groups `all`, `S`, `M` and `L`, bool `[G]` each."""
    return dict(zip(("all", "S", "M", "L"), in_ranges(ground_truth.areas), strict=True))


def class_groups(ground_truth: GroundTruth) -> dict[str, np.ndarray]:
    """One group per class, bool `[G]` each."""
    return {name: ground_truth.classes == index for index, name in enumerate(ground_truth.class_names)}


def split_classes(ground_truth: GroundTruth, seen: Sequence[str], unseen: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Class names `all`, `seen` in training and `unseen` (paper Table 5), in the order of the ground truth.

    Args:
        ground_truth: defines the classes.
        seen, unseen: one of them names classes; the other is empty and gets the rest.

    Raises:
        UserError: a name is not a class of the ground truth.
    """
    names = ground_truth.class_names
    for name in (*seen, *unseen):
        if name not in names:
            raise UserError(f"{ground_truth.spec}: {name!r} is no class of it; its classes are {', '.join(names)}")
    is_seen = [name in seen if seen else name not in unseen for name in names]
    chosen = {
        of: tuple(n for n, s in zip(names, is_seen, strict=True) if s == (of == "seen")) for of in ("seen", "unseen")
    }
    return {"all": names, **chosen}


def groups_of_classes(ground_truth: GroundTruth, groups: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """The objects of groups of classes, bool `[G]` each."""
    index = {name: number for number, name in enumerate(ground_truth.class_names)}
    return {group: np.isin(ground_truth.classes, [index[name] for name in names]) for group, names in groups.items()}


def found_per_image(
    ground_truth: GroundTruth, proposals: Predictions, budget: int = 100, thresholds: np.ndarray = IOU_THRESHOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """Contribution of each image to AR: objects found, averaged over thresholds, and counted objects.

    Returns:
        float64 `[I]` and int64 `[I]`; AR is the sum of the first divided by the sum of the second.
    """
    everything = np.ones((1, len(ground_truth.xywh)), bool)
    ranks = match_ranks(ground_truth, proposals, budget, thresholds, everything)[0]
    images = len(ground_truth)
    found = np.bincount(ground_truth.image_of, (ranks != NEVER).mean(axis=0), images)
    return found, np.bincount(ground_truth.image_of, ground_truth.counted, images).astype(np.int64)
