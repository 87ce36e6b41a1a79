"""`zip-keras ablate` and `zip-keras measure` for real, on a network of 200,000 weights; and their bad input."""

import json

import pytest

from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.experiments.measure import measure_run, read_result, training_speed
from zip_keras.predictions.formats import read_predictions

BASE = """
data: {{train: {devkit}:train, resize: fixed, short_side: 64, long_side: 96, bucket_multiple: 32,
  test_short_sides: [48, 96]}}
model: {{width: 0.125, zoom_in: none, head_channels: 8, anchors: {{scales: [[12], [24], [48]], ratios: [1]}}}}
targets: {{best_anchor_positive: true}}
postprocess: {{max_proposals: 200}}
train: {{batch_size: 2, learning_rate: 0.01, log_every: 1, checkpoint_every: 2, evaluate_every: 2, strategy: one}}
"""
TABLE = """
base: base.yaml
overrides: [train.steps=2]
seeds: [1]
test: {devkit}:val
rows:
  - {{name: gray}}
  - {{name: two classes, overrides: [model.num_classes=2]}}
"""


@pytest.mark.slow
def test_a_real_row_from_training_to_table(rendered_devkit, tmp_path, capsys):
    (tmp_path / "base.yaml").write_text(BASE.format(devkit=rendered_devkit))
    (tmp_path / "tiny.yaml").write_text(TABLE.format(devkit=rendered_devkit))
    words = ["ablate", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "out")]
    assert main([*words, "--dry-run"]) == 0
    assert "two classes, seed 1: to start\n  python -m zip_keras train --config" in capsys.readouterr().out
    assert main([*words, "--rows", "gray"]) == 0  # one row: two processes that import TensorFlow take long enough
    printed = capsys.readouterr().out
    assert "| gray | 1 | 0." in printed
    assert "| two classes | 0 | - |" in printed
    result = read_result(tmp_path / "out" / "gray" / "seed-1")
    assert 0 <= result["accuracy"]["AR@100"] <= 1
    assert (result["seed"], result["images"], result["max_boxes"]) == (1, 2, 200)
    assert result["short_sides"] == [48, 96]  # the scales of the config
    cost = result["cost"]
    assert (cost["height"], cost["width"]) == (64, 96)
    assert 0 < cost["gflops"] < 1
    assert 1e5 < cost["parameters"] < 1e6
    assert result["training"]["steps"] == 2
    proposals = read_predictions(str(tmp_path / "out" / "gray" / "seed-1" / "proposals.npz"))
    assert (len(proposals), proposals.count) == (2, result["boxes"])
    (tmp_path / "out" / "table.md").unlink()
    assert main([*words, "--report-only"]) == 0
    assert (tmp_path / "out" / "table.md").read_text() == capsys.readouterr().out == printed


def test_rows_not_asked_for_are_checked_first(tmp_path, capsys):
    (tmp_path / "base.yaml").write_text(BASE.format(devkit="nowhere"))
    (tmp_path / "tiny.yaml").write_text(TABLE.format(devkit="nowhere"))
    other = tmp_path / "out" / "two-classes" / "seed-1"
    other.mkdir(parents=True)
    (other / "config.yaml").write_text("train: {steps: 7}")
    assert main(["ablate", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "out"), "--rows", "gray"]) == 2
    assert "two-classes/seed-1: holds a run with another config" in capsys.readouterr().err
    assert not (tmp_path / "out" / "gray").exists()


def test_bad_arguments(tmp_path, capsys):
    (tmp_path / "base.yaml").write_text("")
    (tmp_path / "tiny.yaml").write_text(TABLE.format(devkit="nowhere"))
    words = ["ablate", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path / "out")]
    for extra, message in (
        (["--report-only"], "holds no run of"),
        (["--report-only", "--rows", "gray"], "leave out --rows and --seeds"),
        (["--rows", "grey"], "no row 'grey'; did you mean 'gray'?"),
        (["--seeds", "-1"], "--seeds must be at least 0, not -1"),
    ):
        assert main([*words, *extra]) == 2
        assert message in capsys.readouterr().err
    assert main(["measure", str(tmp_path), "--data", "x:val"]) == 2
    assert f"{tmp_path / 'config.yaml'}: no such config file" in capsys.readouterr().err
    assert main(["measure", str(tmp_path), "--data", "x:val", "--repeats", "0"]) == 2


def test_training_time_is_that_of_the_median_speed(tmp_path):
    lines = [
        {"step": 10, "loss": 1.0, "images_per_second": 0.5},  # building and tracing
        {"step": 20, "loss": 1.0, "images_per_second": 8.0},
        {"step": 30, "loss": 1.0, "images_per_second": 8.0},
        {"step": 30, "AR@100": 0.2},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 40, "lo')
    speed = training_speed(tmp_path, batch_size=4)
    assert speed == {"steps": 30, "images_per_second": 8.0, "seconds": 30 * 4 / 8.0}
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(UserError, match="no line of training"):
        training_speed(tmp_path, 4)


def test_calibration_images_are_not_measured(rendered_devkit, small_proposer, tmp_path):
    from zip_keras.data.sources import open_dataset
    from zip_keras.inference.calibration import Calibration, calibrated

    (tmp_path / "config.yaml").write_text(f"data: {{train: '{rendered_devkit}:train'}}")
    dataset = open_dataset(f"{rendered_devkit}:val")
    result = Calibration((0.1, 0.0, 0.0), 0.0, 0.0, 0.0, 100, len(dataset.records))
    calibrated(small_proposer, dataset, result).save(tmp_path / "best.keras")
    with pytest.raises(UserError, match="level biases were chosen on this image"):
        measure_run(tmp_path, f"{rendered_devkit}:val")
    assert not (tmp_path / "result.json").exists()


def test_a_broken_result_is_named(tmp_path):
    assert read_result(tmp_path) is None
    (tmp_path / "result.json").write_text('{"seed": 1}')
    with pytest.raises(UserError, match=r"result.json: lacks accuracy, config, cost, .*; delete it and measure again"):
        read_result(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result.json: cannot be read"):
        read_result(tmp_path)


def test_ablate_itself_holds_no_tensorflow(run_lazily):
    program = "import sys, zip_keras.cli.ablate; print({'tensorflow', 'keras'} & set(sys.modules))"
    assert run_lazily(program) == "set()"
