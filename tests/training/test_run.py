import errno
import json
import math
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.disk import fill
from tests.training.tiny import start_weights, tiny_config, weights_of
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.inference.loading import load_proposer
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runner import propose_records
from zip_keras.training.checkpoints import find_checkpoints
from zip_keras.training.run import train


@pytest.fixture(scope="module")
def finished(devkit, tmp_path_factory):
    """A run with validation, to its end."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    result = train(tiny_config(devkit, f"data.val={devkit}:val"), str(run_dir))
    return run_dir, result


def test_a_run_leaves_its_config_its_numbers_and_its_models(finished):
    run_dir, result = finished
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 4]
    assert math.isfinite(lines[0]["loss"])
    assert {f"{kind}_{m}" for kind in ("classification", "box", "positives") for m in (1, 2, 3)} <= lines[0].keys()
    assert 0.0 <= result["AR@100"] <= 1.0
    assert lines[-1]["AR@100"] == pytest.approx(result["AR@100"], abs=1e-6)
    assert (run_dir / "best.keras").exists()
    assert list((run_dir / "tensorboard" / "validation").iterdir())
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment[0]["versions"]["keras"]
    assert "short_side: 64" in (run_dir / "config.yaml").read_text()


@pytest.mark.slow
def test_a_backbone_of_which_the_end_is_not_used_trains(config, tmp_path):
    """As of a Faster R-CNN: all anchors on the map of stride 16."""
    train(config("model.anchors.scales=[[],[24,32,48],[]]", "train.steps=2"), str(tmp_path / "run"))
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert {"box_1", "box_2", "box_3"} & first.keys() == {"box_2"}


@pytest.mark.slow
def test_levels_without_anchors_and_recursion_train_as_all_do(config, devkit, tmp_path):
    scales = "model.anchors.scales=[[],[24,32],[48,64]]"
    options = ("model.zoom_in=released", scales, "model.refinement_steps=1", f"data.val={devkit}:val")
    train(config(*options), str(tmp_path / "run"))
    first, *_, last = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss_step_1", "positives_step_1", "box_2", "box_3"} <= first.keys()
    assert "box_1" not in first
    assert 0 < first["loss_step_1"] < first["loss"]
    assert 0.0 <= last["AR@100"] <= 1.0


def test_a_folder_in_use_and_another_config_are_refused(finished, config, devkit):
    run_dir, _ = finished
    with pytest.raises(UserError, match="holds a run already; add --resume"):
        train(config(), str(run_dir))
    with pytest.raises(UserError, match=r"train\.momentum: 0\.9 -> 0\.5"):
        train(config(f"data.val={devkit}:val", "train.momentum=0.5"), str(run_dir), resume=True)


@pytest.mark.slow
def test_a_finished_run_can_be_prolonged(finished, config, devkit, tmp_path):
    run_dir, _ = finished
    before = weights_of(run_dir)
    metrics = run_dir / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:-1]))  # as if killed during the evaluation
    train(config(f"data.val={devkit}:val", "train.steps=6"), str(run_dir), resume=True)
    after = weights_of(run_dir)
    assert any(np.abs(before[name] - after[name]).max() > 0 for name in before)
    steps = [json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert steps[2:] == [4, 6, 6]  # the evaluation was made up for


@pytest.fixture(scope="module")
def whole(devkit, tmp_path_factory):
    """A run of the smallest network without validation, to its end at step 4."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train(tiny_config(devkit), str(run_dir))
    return run_dir


@pytest.mark.slow
def test_fine_tuning_is_measured_at_step_0(whole, config, devkit, tmp_path, capsys):
    scales = ["data.test_short_sides=[48,96]", f"data.val={devkit}:val"]
    short = ["train.steps=2", "train.evaluate_every=2"]
    train(config(f"train.weights={whole / 'last.keras'}", *scales, *short), str(tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 2]
    dataset = open_dataset(f"{devkit}:val")
    propose = load_proposer(whole, options=InferenceOptions(short_sides=[48, 96]))
    before = average_recall(dataset, propose_records(propose, dataset.records))["AR@100"]
    assert lines[0]["AR@100"] == pytest.approx(before, abs=1e-6)
    single = average_recall(dataset, propose_records(load_proposer(whole), dataset.records))["AR@100"]
    assert before != pytest.approx(single, abs=1e-4)
    saved = keras.models.load_model(tmp_path / "run" / "last.keras")
    assert (saved.short_sides, saved.long_side) == ((48, 96), 192)
    assert f"AR@100 {before:.3f}" in capsys.readouterr().err.splitlines()[-1]


class TestBroken:
    """What resuming does with a run of which something was lost. Step 4 is the last of it."""

    @pytest.fixture
    def run_dir(self, whole, tmp_path):
        return shutil.copytree(whole, tmp_path / "run")

    @pytest.mark.slow
    def test_an_older_checkpoint_gives_the_same_run(self, whole, run_dir, config, capsys):
        os.truncate(run_dir / "checkpoints" / "ckpt-4.data-00000-of-00001", 100)
        (run_dir / "checkpoints" / "checkpoint").write_bytes(b"\xff garbage")
        train(config(), str(run_dir), resume=True)
        assert re.search(r"resuming from ckpt-2 at step 2; passed over: ckpt-4: \S", capsys.readouterr().err)
        after = weights_of(run_dir)
        assert all((after[name] == values).all() for name, values in weights_of(whole).items())
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [2, 4]
        state = tf.train.get_checkpoint_state(str(run_dir / "checkpoints"))
        assert [Path(name).name for name in state.all_model_checkpoint_paths] == ["ckpt-2", "ckpt-4"]

    def test_none_readable_is_refused_and_nothing_changes(self, run_dir, config):
        for file in (run_dir / "checkpoints").glob("*.data-*"):
            os.truncate(file, 100)
        before = {file: file.read_bytes() for file in run_dir.rglob("*") if file.is_file()}
        with pytest.raises(UserError, match=r"no checkpoint can be read \(ckpt-4: .*; ckpt-2: .*nothing was changed"):
            train(config("train.steps=8"), str(run_dir), resume=True)
        assert {file: file.read_bytes() for file in run_dir.rglob("*") if file.is_file()} == before

    def test_checkpoints_without_config_are_refused(self, run_dir, config):
        (run_dir / "config.yaml").unlink()
        with pytest.raises(UserError, match=r"config\.yaml: missing, but the folder holds checkpoints"):
            train(config(), str(run_dir))

    def test_a_full_disk_is_one_error_and_the_models_stay(self, run_dir, config, small_disk):
        full = shutil.copytree(run_dir, small_disk(2000) / "run")
        fill(full / "filler", leave=20_000)
        before = (full / "last.keras").read_bytes()
        with pytest.raises(UserError, match=r"last\.keras: cannot be written.*No space left on device"):
            train(config(), str(full), resume=True)
        assert (full / "last.keras").read_bytes() == before
        assert find_checkpoints(full / "checkpoints").readable == (4, 2)
        assert not list(full.glob(".*"))

    def test_a_folder_that_cannot_be_written(self, run_dir, config, monkeypatch):
        def refuse(*arguments, **keywords):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(keras.Model, "save", refuse)
        with pytest.raises(UserError, match=r"last\.keras: cannot be written: Read-only file system"):
            train(config(), str(run_dir), resume=True)
        assert find_checkpoints(run_dir / "checkpoints").readable == (4, 2)
        opens = os.open
        monkeypatch.setattr(
            os,
            "open",
            lambda file, flags, *rest, **keywords: (
                refuse() if flags & (os.O_WRONLY | os.O_RDWR) else opens(file, flags, *rest, **keywords)
            ),
        )
        with pytest.raises(UserError, match=r"run: cannot be written: Read-only file system"):
            train(config(), str(run_dir), resume=True)


def test_a_loss_that_is_not_finite_names_images_and_checkpoint(config, tmp_path):
    wild = config("train.learning_rate=1e30", "train.clip_norm=0", "train.checkpoint_every=1", "train.log_every=1")
    with pytest.raises(
        UserError,
        match=r"(loss|gradient norm) (nan|inf|-inf) at step \d .*/\d+\.jpg, .*last good checkpoint: .*ckpt-\d\.",
    ):
        train(wild, str(tmp_path / "run"))


def test_an_image_that_breaks_after_the_start_is_named(config, devkit, tmp_path):
    settings = config()
    stem = (devkit / "ImageSets/Main/train.txt").read_text().split()[0]
    file = next((devkit / "JPEGImages").glob(f"{stem}.*"))
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    try:
        with pytest.raises(UserError, match=f"{file.name}: does not decode"):
            train(settings, str(tmp_path / "run"))
    finally:
        file.write_bytes(whole)


@pytest.mark.slow
def test_frozen_blocks_stay_and_the_rest_moves(config, tmp_path):
    frozen = config("train.freeze=c2", "train.steps=2", "train.ema=0")
    train(frozen, str(tmp_path / "run"))
    before, after = start_weights(frozen), weights_of(tmp_path / "run")
    moved = {name for name in before if np.abs(before[name] - after[name]).max() > 0}
    assert not {name for name in moved if name.startswith(("backbone_c1/", "backbone_c2/"))}
    assert "backbone_c3/convolution/kernel" in moved
    with pytest.raises(UserError, match="'c9' is no block of the backbone; there are c1, c2"):
        train(config("train.freeze=c9"), str(tmp_path / "none"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_and_saves_single_precision(config, tmp_path, dtype):
    train(config(f"train.dtype={dtype}", "train.steps=2"), str(tmp_path / "run"))
    weights = weights_of(tmp_path / "run")
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in weights.values())


def test_settings_that_cannot_work_are_refused(config, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for overrides, message in (
        (["train.strategy=multi_worker"], "needs the environment variable TF_CONFIG"),
        (["data.train="], "data.train is empty"),
        (["train.weights=nowhere.npz"], "nowhere.npz: no such weights file"),
        (["train.batch_size=64"], "64"),
    ):
        with pytest.raises(UserError, match=message):
            train(config(*overrides), str(tmp_path / "run"), resume=True)
