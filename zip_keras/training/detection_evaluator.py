"""Measures a detector during training: COCO AP, pictures, statistics of the attention."""

import numpy as np

from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.inference.detectors import compile_detector, detect_records
from zip_keras.predictions.container import Predictions
from zip_keras.training.evaluator import RecallEvaluator

NUMBERS = ("AP50", "AP", "AP75", "AP-S", "AP-M", "AP-L")


class DetectionEvaluator(RecallEvaluator):
    """COCO AP of the weights that its detector has at the time; the arguments are those of `RecallEvaluator`."""

    def make_runner(self):
        return compile_detector(self.proposer)

    def predict(self) -> Predictions:
        return detect_records(self._runner, self.progress(self.dataset.records))

    def measure(self, found: Predictions) -> dict[str, float]:
        """The numbers of protocol `coco-ap` that are defined on the data."""
        numbers = coco_average_precision(from_dataset(self.dataset), found)
        return {name: numbers[name] for name in NUMBERS if np.isfinite(numbers[name])}
