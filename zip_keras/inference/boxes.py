"""The result of one image."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one image, best first; as NumPy arrays of one length n.

    Attributes:
        boxes: float32 `[n, 4]`: y1, x1, y2, x2 in pixels of the image, continuous: a box around the whole image is
            0, 0, height, width.
        scores: float32 `[n]`, decreasing. They order the boxes of one image; they are no calibrated probabilities.
        levels: int32 `[n]`, the level that found each box: 1, 2, 3 for strides 8, 16, 32.

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

    def head(self, count: int | None) -> "Boxes":
        """The best `count` boxes; all of them for None."""
        return self.take(slice(count))

    def take(self, places: np.ndarray | slice) -> "Boxes":
        """The boxes at these places of the list."""
        return Boxes(*(getattr(self, field.name)[places] for field in dataclasses.fields(self)))

    @classmethod
    def of_batch(cls, outputs: Mapping[str, np.ndarray], index: int = 0) -> "Boxes":
        """The valid boxes of image `index` in what a `Proposer` or an exported signature returns for a batch.

        Args:
            outputs: `boxes [B, n, 4]`, `scores [B, n]`, `valid [B, n]`, `levels [B, n]`.
            index: of the image.
        """
        valid = np.asarray(outputs["valid"])[index]
        return cls(*(np.asarray(outputs[field.name])[index][valid] for field in dataclasses.fields(cls)))
