"""Proposals of another method that a second stage uses in place of the network's own."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GivenProposals:
    """The proposals of one image, best first.

    Attributes:
        boxes: float32 `[n, 4]`, `[y1, x1, y2, x2]` in pixels of the image.
        levels: int32 `[n]`, the level that each box is pooled from, 1 is the finest; 0: unknown, chosen by box size.
    """

    boxes: np.ndarray
    levels: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def digest(proposals: Iterable[GivenProposals]) -> str:
    """A hash of boxes, levels and their order."""
    content = hashlib.sha256()
    for given in proposals:
        content.update(len(given).to_bytes(8, "little") + given.boxes.tobytes() + given.levels.tobytes())
    return content.hexdigest()[:16]
