"""The card of a run, from files that were written here."""

import json

import pytest

from zip_keras.config import DataConfig, ExperimentConfig, TrainConfig
from zip_keras.config.files import config_text
from zip_keras.errors import UserError
from zip_keras.export.run_card import run_card

START = {"time": "2026-01-02", "python": "3.11.7", "cores": 2, "images": "abc", "command": ["/home/me/train.py"]}
LINES = [
    {"step": 5, "loss": 1.0},
    {"step": 5, "AR@10": 0.1, "AR@100": 0.25, "measured": "otherwise"},
    {"step": 10, "AR@10": 0.2, "AR@100": 0.375, "measured": "now"},
    {"step": 20, "AR@10": 0.3, "AR@100": 0.125, "measured": "now"},
    {"step": 25, "loss": 0.5},
]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "shapes"
    folder.mkdir()
    data = DataConfig(train="scenes:train + /home/me/voc 12:train", val="/home/me/voc07:val", short_side=320)
    config = ExperimentConfig(data=data, train=TrainConfig(steps=30, evaluate_images=150, weights="zip_lite", seed=7))
    (folder / "config.yaml").write_text(config_text(config))
    (folder / "environment.json").write_text(json.dumps([START, {**START, "time": "2026-01-03"}]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    for name in ("best.keras", "last.keras", "other.keras"):
        (folder / name).write_bytes(b"")
    return folder


def test_what_the_run_recorded(run):
    card = run_card(run)
    assert card.startswith("# shapes\n\nClass-agnostic object proposals. `best.keras` of a run")
    for row in (
        "| validation | `voc07:val` |",
        "| digest of the training images and boxes | `abc` |",
        "| start | `zip_lite` |",
        "| steps | 25 of 30, 4 images each |",
        "| seed | 7 |",
        "| starts | 2 |",
        "| time of the first start | 2026-01-02 |",
    ):
        assert row in card
    assert "/home/me/" not in card


def test_the_numbers_are_those_of_the_saved_weights(run):
    best, last = run_card(run), run_card(run / "last.keras")
    assert "Step 10, the first 150 validation images, short side 320 pixels." in best
    assert "chosen among 2 evaluations by AR@100" in best
    assert "| AR@10 | 0.200 |\n| AR@100 | 0.375 |" in best
    assert "Step 20," in last
    assert "| AR@100 | 0.125 |" in last
    assert "chosen" not in last


def test_nothing_is_made_up(run):
    (run / "metrics.jsonl").unlink()
    (run / "environment.json").unlink()
    card = run_card(run)
    assert "The run has no evaluation." in card
    assert "The run has no `environment.json`." in card
    assert "AR@" not in card


def test_models_that_are_no_run_have_no_such_card(run):
    assert run_card(run / "other.keras") is None
    assert run_card("zip_lite") is None
    (run / "config.yaml").write_text("train: {steps: 3, stps: 4}")
    with pytest.raises(UserError, match=r"config\.yaml: not the config of a run"):
        run_card(run)
    (run / "config.yaml").unlink()
    assert run_card(run) is None
