"""The results for one image: proposals or detections."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one image as NumPy arrays of the same length n, best first.

    Attributes:
        boxes: float32 `[n, 4]`: y1, x1, y2, x2 in continuous pixel coordinates of the image. A box around the whole
            image is 0, 0, height, width.
        scores: float32 `[n]`, decreasing. They rank the boxes of one image and are not calibrated probabilities.
        levels: int32 `[n]`, the level of each box: 1, 2, 3 for strides 8, 16, 32.

    >>> import numpy as np
    >>> found = Boxes(np.float32([[0, 0, 40, 60], [5, 5, 9, 9]]), np.float32([0.9, 0.2]), np.int32([3, 1]))
    >>> len(found)
    2
    >>> found.head(1)
    Boxes(n=1, best score 0.900)
    >>> height, width = (found.boxes[:, 2:] - found.boxes[:, :2]).T
    >>> width.tolist()
    [60.0, 4.0]
    """

    boxes: np.ndarray
    scores: np.ndarray
    levels: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        best = f", best score {self.scores[0]:.3f}" if len(self) else ""
        return f"Boxes(n={len(self)}{best})"

    def head(self, count: int | None) -> Self:
        """The best `count` boxes; None returns all."""
        return self.take(slice(count))

    def take(self, places: np.ndarray | slice) -> Self:
        """The boxes at the given indices or slice."""
        columns = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        arrays = {name: value[places] for name, value in columns.items() if isinstance(value, np.ndarray)}
        return dataclasses.replace(self, **arrays)

    @classmethod
    def of_batch(cls, outputs: Mapping[str, np.ndarray], index: int = 0) -> "Boxes":
        """The valid boxes of one image in the batch output of a `Proposer` or an exported signature.

        Args:
            outputs: `boxes [B, n, 4]`, `scores [B, n]`, `valid [B, n]`, `levels [B, n]`.
            index: index of the image in the batch.
        """
        valid = np.asarray(outputs["valid"])[index]
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.asarray(outputs[name])[index][valid] for name in names))


@dataclass(frozen=True, eq=False, repr=False)
class Detections(Boxes):
    """The detections of one image, best first.

    Attributes:
        boxes, scores, levels: see `Boxes`.
        classes: int32 `[n]`, indices into `class_names`.
        class_names: class names of the model.

    >>> import numpy as np
    >>> boxes, scores = np.float32([[0, 0, 40, 60], [5, 5, 9, 9]]), np.float32([0.9, 0.2])
    >>> found = Detections(boxes, scores, np.int32([3, 1]), np.int32([1, 0]), ("cat", "dog"))
    >>> found.names
    ['dog', 'cat']
    >>> found.head(1)
    Detections(n=1, best dog 0.900)
    """

    classes: np.ndarray
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        best = f", best {self.names[0]} {self.scores[0]:.3f}" if len(self) else ""
        return f"Detections(n={len(self)}{best})"

    @property
    def names(self) -> list[str]:
        """The class name of each box."""
        return [self.class_names[number] for number in self.classes]
