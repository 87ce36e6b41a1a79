"""Training targets of a planned example, in the pixels of its batch. All data loaders use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.data.given import GivenProposals
from zip_keras.data.pipeline.plan import ExamplePlan
from zip_keras.data.records import Dataset, ImageRecord

if TYPE_CHECKING:
    from zip_keras.config import DataConfig

# An object of which a crop shows less is marked difficult: it is too little to learn from and too much for background.
LEAST_VISIBLE_SHARE = 0.4


@dataclass(frozen=True)
class Objects:
    """Objects of one image.

    Attributes:
        boxes: float32 `[m, 4]`, `[y1, x1, y2, x2]`.
        classes: int32 `[m]`.
        difficult, crowd: bool `[m]`.
    """

    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray

    def take(self, chosen: np.ndarray) -> Objects:
        """Select objects by indices or a mask."""
        return Objects(self.boxes[chosen], self.classes[chosen], self.difficult[chosen], self.crowd[chosen])


def boxes_of(record: ImageRecord, example: ExamplePlan) -> Objects:
    """Apply window, resize and flip to the objects of a record.

    Boxes are clipped to the window. Objects outside it are dropped, and objects that are visible by less than
    `LEAST_VISIBLE_SHARE` become difficult.

    Returns:
        Boxes in the pixels of the resized image, in the record's order.
    """
    boxes, share = _moved(record.boxes, example)
    objects = Objects(boxes, record.classes, record.difficult | (share < LEAST_VISIBLE_SHARE), record.crowd)
    return objects.take(np.all(boxes[:, 2:] > boxes[:, :2], axis=1))


def _moved(boxes: np.ndarray, example: ExamplePlan) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[n, 4]` after window, resize and flip, and the visible fraction of each; boxes outside have zero area."""
    y1, x1, y2, x2 = example.window
    height, width = example.size
    extent = np.array([y2 - y1, x2 - x1] * 2, np.float64)
    moved = boxes.astype(np.float64) - np.array([y1, x1, y1, x1])
    visible = np.clip(moved, 0, extent)
    sides = visible[:, 2:] - visible[:, :2]
    share = np.prod(sides, axis=1) / np.prod(moved[:, 2:] - moved[:, :2], axis=1)

    scaled = visible * (np.array([height, width] * 2) / extent)
    if example.flip:
        scaled[:, [1, 3]] = width - scaled[:, [3, 1]]
    return np.clip(scaled, 0, np.array([height, width] * 2)).astype(np.float32), share


def box_capacity(dataset: Dataset, settings: DataConfig) -> int:
    """M, boxes per image in a batch: `settings.max_boxes` or the maximum of all images, rounded up to a multiple of 8.

    It is constant for a dataset, so compiled steps see one shape.
    """
    most = settings.max_boxes or max((len(record.boxes) for record in dataset.records), default=0)
    return max(8, -(-most // 8) * 8)


def example_targets(record: ImageRecord, example: ExamplePlan, capacity: int) -> dict[str, np.ndarray]:
    """The row of `y` for one image (docs/ARCHITECTURE.md, "A training batch"), padded to `capacity` boxes.

    If there are more objects, trainable and larger ones are kept.
    """
    objects = boxes_of(record, example)
    if len(objects.boxes) > capacity:
        area = np.prod(objects.boxes[:, 2:] - objects.boxes[:, :2], axis=1)
        best_first = np.lexsort((-area, objects.difficult | objects.crowd))
        objects = objects.take(np.sort(best_first[:capacity]))
    missing = capacity - len(objects.boxes)
    return {
        "boxes": np.pad(objects.boxes, ((0, missing), (0, 0))),
        "classes": np.pad(objects.classes.astype(np.int32), (0, missing), constant_values=-1),
        "difficult": np.pad(objects.difficult, (0, missing)),
        "crowd": np.pad(objects.crowd, (0, missing)),
        "size": np.array(example.size, np.float32),
        "seed": np.array(example.seed, np.int32),
        "index": np.array(example.record, np.int32),
    }


def proposal_targets(given: GivenProposals, example: ExamplePlan, capacity: int) -> dict[str, np.ndarray]:
    """Proposals transformed like the objects, clipped to the window and dropped outside it.

    Returns:
        `proposals` float32 `[capacity, 4]`, padded with boxes of zero area, and `proposal_levels` int32 `[capacity]`.
    """
    boxes, _ = _moved(given.boxes, example)
    chosen = np.flatnonzero(np.all(boxes[:, 2:] > boxes[:, :2], axis=1))[:capacity]
    missing = capacity - len(chosen)
    return {
        "proposals": np.pad(boxes[chosen], ((0, missing), (0, 0))),
        "proposal_levels": np.pad(given.levels[chosen].astype(np.int32), (0, missing)),
    }
