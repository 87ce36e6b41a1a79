"""A tiny run of each kind of detector: trains, measures by AP50, saves a model that knows its classes."""

import json

import keras
import numpy as np
import pytest

from zip_keras.cli.main import main
from zip_keras.data.sources import open_dataset
from zip_keras.data.synthetic import CLASS_NAMES
from zip_keras.errors import UserError
from zip_keras.evaluation.average_precision import fast_average_precision
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.experiments.measure import measure_run
from zip_keras.inference.detectors import load_keras_detector
from zip_keras.inference.given_proposals import read_given_proposals
from zip_keras.inference.runner import load_image
from zip_keras.models.detector import Detector
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import read_predictions, write_predictions
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


def edges_and_thirds(spec, file):
    """Proposals of no network: the left and the middle third of every image, at no level."""
    proposals = Predictions()
    for record in open_dataset(spec).records:
        height, width = record.height, record.width
        proposals.add(record.image_id, np.array([[0, 0, height, width / 3], [0, width / 3, height, width * 2 / 3]]),
                      np.array([0.9, 0.4]))  # fmt: skip
    write_predictions(str(file), proposals)
    return file


@pytest.mark.slow
def test_the_second_stage_alone_on_proposals_of_a_file(config, devkit, tmp_path, capsys):
    file = edges_and_thirds(f"{devkit}:train + {devkit}:val", tmp_path / "thirds.npz")
    given = [f"data.train_proposals={file}", f"data.val_proposals={file}", "data.crop=0.5"]
    run = ["detector.kind=two_stage", "detector.train=second", f"data.val={devkit}:val", *DETECTOR, *given]
    with pytest.raises(UserError, match="second stage of a detector alone"):
        config(*run, "detector.train=both")
    train(config(*run), str(tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "roi_box" in line]
    assert all(np.isfinite(line["loss"]) for line in losses)
    assert "classification_1" not in losses[0]

    command = ["detect", f"{devkit}:val", "--model", str(tmp_path / "run"), "--proposals", str(file)]
    assert main([*command, "--output", str(tmp_path / "found.json")]) == 0
    rows = json.loads((tmp_path / "found.json").read_text())
    detector = load_keras_detector(tmp_path / "run")
    record = open_dataset(f"{devkit}:val").records[1]
    boxes = read_given_proposals(str(file), [record.image_id], 9)[0].boxes
    expected = detector.classify(load_image(record)[None], boxes[None])
    of_image = [row["score"] for row in rows if row["image_id"] == record.image_id]
    assert len(of_image) == int(np.sum(expected["valid"])) <= 2 * len(detector.class_names)
    np.testing.assert_allclose(of_image, expected["scores"][0][: len(of_image)], atol=1e-5)
    result = measure_run(tmp_path / "run", f"{devkit}:val", size=(64, 64), repeats=1)
    assert (result["protocol"], result["boxes"]) == ("fast-ap", len(rows))
    of_file = read_predictions(str(tmp_path / "found.json"))
    expected = fast_average_precision(read_ground_truth(f"{devkit}:val"), of_file)
    assert result["accuracy"] == {name: None if np.isnan(value) else value for name, value in expected.items()}
    edges_and_thirds(f"{devkit}:train", file)
    capsys.readouterr()
    assert main([*command, "--output", str(tmp_path / "x.json")]) == 2
    assert "has no proposals of 2 of 2 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "unseen"),
    [pytest.param("two_stage", [], marks=pytest.mark.slow), ("one_stage", ["disc", "star"])],
)
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
