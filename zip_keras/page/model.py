"""The model behind the page: one run of its network answers every position of the sliders. Without TensorFlow."""

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
    """Which of an image's boxes the page shows: the positions of its sliders.

    Attributes:
        count: boxes at most.
        score: least score of a box; 0 takes any, also one below 0.
        iou: two boxes of one class overlap by no more; 1 takes any.
    """

    count: int
    score: float
    iou: float

    def of(self, found: Boxes) -> Boxes:
        """The chosen boxes, best first: scores, then NMS within each class, then the count."""
        rows = np.flatnonzero(found.scores >= self.score) if self.score > 0 else np.arange(len(found))
        left = found.take(rows)
        classes = left.classes if isinstance(left, Detections) else None
        return left.take(distinct_rows(left.boxes, self.count, self.iou, classes))


@dataclass(frozen=True)
class PageModel:
    """A model that is ready for images.

    Attributes:
        name: as the user gave it.
        class_names: of a detector; None: a proposer.
        look: uint8 `[H, W, 3]` RGB -> its boxes, more than are shown, best first: all that a proposer lists, and all
            pairs of box and class that enter a detector's NMS.
        start: the sliders at first.
        most: boxes shown at most: as many as the model lists.
        attend: map attention of an image; None: the network has none.
    """

    name: str
    class_names: tuple[str, ...] | None
    look: Callable[[np.ndarray], Boxes]
    start: Choice
    most: int
    attend: "Attend | None"
