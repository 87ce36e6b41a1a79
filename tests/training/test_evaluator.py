"""What an evaluation measures, without running a network."""

import numpy as np
import pytest

from zip_keras.data.sources import open_dataset
from zip_keras.predictions.container import Predictions
from zip_keras.training.evaluator import RecallEvaluator


def test_seen_and_unseen_classes_are_measured_apart(small_proposer, devkit):
    """Proposals that are exactly the objects of the seen classes."""
    dataset = open_dataset(f"{devkit}:val")
    seen = dataset.without_classes(["disc", "ring"])
    found = Predictions()
    for record in seen.records:
        found.add(record.image_id, record.boxes, np.linspace(0.9, 0.1, len(record.boxes)))
    numbers = RecallEvaluator(small_proposer, dataset, None, None, unseen=["disc", "ring"]).measure(found)
    assert numbers["AR@100-seen"] == pytest.approx(1.0)
    assert numbers["AR@100-unseen"] < 0.5  # a seen object may lie on an unseen one
    assert numbers["AR@100-unseen"] < numbers["AR@100"] < 1.0
    assert not any("seen" in name for name in RecallEvaluator(small_proposer, dataset, None, None).measure(found))
