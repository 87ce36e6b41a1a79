"""When an exported file counts as answering as the Keras model does."""

import re
from pathlib import Path

import numpy as np
import pytest

from zip_keras.cli import export as export_command
from zip_keras.export import verification
from zip_keras.export.formats import FORMATS
from zip_keras.export.saved_model import DEFAULT_FORMATS


def test_the_documented_bounds_are_those_of_the_code():
    text = (Path(__file__).parents[2] / "docs/serving.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (\d+e-\d+) \| (\d+) % \|", text, re.M)
    documented = {name: verification.Bound(float(bound), int(share) / 100) for name, bound, share in rows}
    assert documented == verification.BOUNDS
    assert sorted(export_command.FORMATS) == sorted(FORMATS)
    assert export_command.DEFAULT_FORMATS == DEFAULT_FORMATS


class TestComparison:
    """By hand: lists of boxes on an image of 100 x 50 pixels."""

    image = np.arange(100 * 50 * 3, dtype=np.uint8).reshape(1, 100, 50, 3)

    def of(self, boxes, scores, valid=None):
        valid = np.ones(len(scores), bool) if valid is None else np.array(valid)
        answer = {"boxes": np.float32([boxes]), "scores": np.float32([scores]), "valid": valid[None]}
        return lambda images: answer

    def test_order_does_not_matter_and_a_moved_box_does(self):
        own = self.of([[0, 0, 10, 10], [5, 5, 20, 30]], [0.9, 0.9])
        assert verification.compare(
            "onnx", own, self.of([[5, 5, 20, 30], [0, 0, 10, 10]], [0.9, 0.9]), [self.image]
        ) == (verification.Comparison("onnx", 0.0, 0.0, 4, 1))
        moved = verification.compare("onnx", own, self.of([[0, 0, 10, 10], [5, 5, 20, 31]], [0.9, 0.9]), [self.image])
        assert (moved.difference, moved.share, moved.within) == (pytest.approx(0.01), 0.5, False)

    def test_a_score_a_missing_box_and_a_class_count(self):
        own = self.of([[0, 0, 10, 10]], [0.9])
        assert verification.compare("onnx", own, self.of([[0, 0, 10, 10]], [0.7]), [self.image]).difference == (
            pytest.approx(0.2)
        )
        missing = verification.compare("onnx", own, self.of([[0, 0, 10, 10]], [0.9], [False]), [self.image])
        assert (missing.difference, missing.boxes, missing.within) == (1.0, 1, False)

    def test_on_one_colour_scores_alone_are_compared(self):
        blank = np.zeros((1, 100, 50, 3), np.uint8)
        own, other = self.of([[0, 0, 10, 10]], [0.9]), self.of([[50, 20, 70, 40]], [0.9])
        assert verification.compare("onnx", own, other, [blank]).within
        assert not verification.compare("onnx", own, other, [self.image]).within
        assert not verification.compare("onnx", own, self.of([[0, 0, 10, 10]], [0.8]), [blank]).within
