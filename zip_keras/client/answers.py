"""What the server says about one image."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Answer:
    """The boxes of one image, best first; NumPy arrays of one length n.

    Attributes:
        boxes: float32 `[n, 4]`: y1, x1, y2, x2 in pixels of the image as stored.
        scores: float32 `[n]`, decreasing.
        levels: int32 `[n]`: 1, 2, 3 for strides 8, 16, 32.
        classes: int32 `[n]`, class numbers from 0; None from a proposer.
        version: of the model that answered; None by REST, which does not say.
    """

    boxes: np.ndarray
    scores: np.ndarray
    levels: np.ndarray
    classes: np.ndarray | None
    version: int | None

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        best = f", best score {self.scores[0]:.3f}" if len(self) else ""
        return f"Answer(n={len(self)}{best})"

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, np.ndarray], version: int | None) -> "Answer":
        """The valid places of the first image of a response.

        Args:
            outputs: `boxes [1, n, 4]`, `scores [1, n]`, `valid [1, n]`, `levels [1, n]`, and `classes [1, n]` of a
                detector.
            version: as above.

        Raises:
            KeyError: an output is missing.
        """
        valid = np.asarray(outputs["valid"], bool)[0]

        def chosen(name: str, kind: type) -> np.ndarray:
            return np.asarray(outputs[name], kind)[0][valid]

        classes = chosen("classes", np.int32) if "classes" in outputs else None
        boxes = chosen("boxes", np.float32)
        return cls(boxes, chosen("scores", np.float32), chosen("levels", np.int32), classes, version)
