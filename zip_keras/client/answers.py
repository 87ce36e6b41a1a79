"""The server's result for one image."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zip_keras.inference.boxes import Boxes


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Boxes):
    """The boxes of one image as NumPy arrays of the same length n, best first.

    Attributes:
        boxes, scores, levels: see `zip_keras.Boxes`; in pixels of the image as stored, without EXIF orientation.
        classes: int32 `[n]`, class numbers from 0; None for a proposer.
        names: strings `[n]`, the class name of each box; None for a proposer.
        version: model version that answered; None if it is unknown (REST without a requested version).
    """

    classes: np.ndarray | None
    names: np.ndarray | None
    version: int | None

    def __repr__(self) -> str:
        best = f", best score {self.scores[0]:.3f}" if len(self) else ""
        return f"Answer(n={len(self)}{best})"

    @classmethod
    def of_outputs(cls, outputs: Mapping[str, np.ndarray], version: int | None) -> "Answer":
        """The valid boxes of the first image of a response.

        Args:
            outputs: `boxes [1, n, 4]`, `scores [1, n]`, `valid [1, n]`, `levels [1, n]`, and for a detector
                `classes [1, n]` and `class_names [1, n]`, strings or UTF-8 bytes.
            version: see the attribute.

        Raises:
            KeyError: an output is missing.
        """
        valid = np.asarray(outputs["valid"], bool)[0]

        def chosen(name: str, kind: type) -> np.ndarray:
            return np.asarray(outputs[name], kind)[0][valid]

        classes = names = None
        if "classes" in outputs:
            classes = chosen("classes", np.int32)
            texts = chosen("class_names", object)
            names = np.array([text.decode() if isinstance(text, bytes) else text for text in texts], str)
        boxes, scores = chosen("boxes", np.float32), chosen("scores", np.float32)
        # In JSON an empty list of boxes has no last axis.
        return cls(boxes.reshape(-1, 4), scores, chosen("levels", np.int32), classes, names, version)
