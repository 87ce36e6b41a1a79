"""The model of the page. One run of the network serves all positions of the sliders. Without TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.inference.boxes import Boxes, Detections
from zip_keras.plots.selection import distinct_rows

if TYPE_CHECKING:
    from zip_keras.analysis.attention.extraction import Attend


@dataclass(frozen=True)
class Choice:
    """The selection of boxes to show: the positions of the sliders.

    Attributes:
        count: maximum number of boxes.
        score: minimum score; 0 keeps all boxes, including negative scores.
        iou: maximum IoU of two boxes of one class; 1 keeps all.
    """

    count: int
    score: float
    iou: float

    def of(self, found: Boxes) -> Boxes:
        """Select boxes by score, then by NMS within each class, then by count; best first."""
        rows = np.flatnonzero(found.scores >= self.score) if self.score > 0 else np.arange(len(found))
        left = found.take(rows)
        classes = left.classes if isinstance(left, Detections) else None
        return left.take(distinct_rows(left.boxes, self.count, self.iou, classes))


@dataclass(frozen=True)
class PageModel:
    """A model that is ready for images.

    Attributes:
        name: name as given by the user.
        class_names: class names of a detector; None for a proposer.
        look: maps uint8 `[H, W, 3]` RGB to boxes, best first: all boxes of a proposer, or all pairs of box and class
            that enter a detector's NMS.
        start: initial positions of the sliders.
        most: maximum number of boxes shown: the model's own limit.
        attend: map attention of an image; None if the network has no MAD.
    """

    name: str
    class_names: tuple[str, ...] | None
    look: Callable[[np.ndarray], Boxes]
    start: Choice
    most: int
    attend: "Attend | None"
