"""Evaluation of a detector during training: COCO AP, pictures, attention statistics."""

from collections.abc import Sequence

import numpy as np

from zip_keras.data.given import GivenProposals
from zip_keras.evaluation.average_precision import class_numbers, group_numbers, twelve_numbers
from zip_keras.evaluation.detection_matching import match_detections
from zip_keras.evaluation.protocols import AREA_RANGES
from zip_keras.inference.detectors import compile_detector, detect_records
from zip_keras.predictions.container import Predictions
from zip_keras.training.evaluator import RecallEvaluator

NUMBERS = ("AP50", "AP", "AP75", "AP-S", "AP-M", "AP-L")


class DetectionEvaluator(RecallEvaluator):
    """COCO AP of the current weights of its detector.

    Args:
        others: arguments of `RecallEvaluator`.
        proposals: proposals of each validation image; None for those of the network.
    """

    def __init__(self, *others, proposals: Sequence[GivenProposals] | None = None):
        self.proposals = proposals
        super().__init__(*others)

    def make_runner(self):
        return compile_detector(self.proposer)

    def predict(self) -> Predictions:
        return detect_records(self._runner, self.progress(self.dataset.records), proposals=self.proposals)

    def measure(self, found: Predictions) -> dict[str, float]:
        """The finite metrics of protocol `coco-ap`, and those of seen and unseen classes."""
        matches = match_detections(self.ground_truth, found, ranges=AREA_RANGES)
        every = twelve_numbers(matches)
        numbers = {name: every[name] for name in NUMBERS}
        for of, row in group_numbers(class_numbers(matches), self.split).items():
            numbers |= {f"{name}-{of}": row[name] for name in ("AP50", "AP") if of != "all"}
        return {name: value for name, value in numbers.items() if np.isfinite(value)}
