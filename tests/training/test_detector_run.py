"""A tiny run of each kind of detector: trains, measures by AP50, saves a model that knows its classes."""

import json

import keras
import numpy as np
import pytest

from zip_keras.data.synthetic import CLASS_NAMES
from zip_keras.models.detector import Detector
from zip_keras.training.run import train

DETECTOR = [
    "detector.head.width=16",
    "detector.head.blocks=[1,1]",
    "detector.head.pool_size=3",
    "detector.targets.per_image=16",
    "detector.targets.proposals=30",
    "postprocess.pre_nms_top_n=60",
    "postprocess.thresholds=[0.7]",
    "postprocess.counts=[30]",
    "train.evaluate_images=2",
]


@pytest.mark.parametrize(("kind", "unseen"), [("two_stage", []), ("one_stage", ["disc", "star"])])
def test_a_run_trains_measures_and_saves_a_detector(kind, unseen, config, devkit, tmp_path, capsys):
    settings = config(f"detector.kind={kind}", f"data.val={devkit}:val", f"data.unseen_classes={unseen}", *DETECTOR)
    numbers = train(settings, str(tmp_path / "run"))
    assert {"AP50", "AP", "AP75"} <= set(numbers)
    assert ("AP50-seen" in numbers) == ("are of data.unseen_classes" in capsys.readouterr().err) == bool(unseen)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert all(np.isfinite(line["loss"]) for line in losses)
    assert ("roi_box" in losses[-1]) == (kind == "two_stage")
    assert "measured" in next(line for line in lines if "AP50" in line)
    model = keras.models.load_model(tmp_path / "run" / "best.keras")
    assert isinstance(model, Detector)
    assert model.class_names == CLASS_NAMES  # also those that were not seen
    assert (tmp_path / "run" / "last.keras").exists()
