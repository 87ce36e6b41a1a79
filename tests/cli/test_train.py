"""`zip-keras train` up to and after the training itself."""

import shlex
from pathlib import Path

import pytest

from zip_keras.cli import main
from zip_keras.cli._parsers import build_parser
from zip_keras.config import from_dict
from zip_keras.config.files import FINETUNING, config_text, read_config
from zip_keras.presets import DEFAULT_PRESET, FOLDER, read_preset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(rendered_devkit, tmp_path, monkeypatch):
    """`started(words)` runs the command with a training that only makes the folder; gives what it was asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zip_keras.cli.train.start_tensorflow", lambda device: None)
    asked = []

    def train(config, run_dir, resume):
        Path(run_dir).mkdir(parents=True, exist_ok=True)
        (Path(run_dir) / "config.yaml").write_text(config_text(config))
        asked.append((config, run_dir, resume))
        return {"AR@100": 0.5}

    monkeypatch.setattr("zip_keras.training.run.train", train)

    def run(*words):
        assert main(["train", *words]) == 0
        return asked[-1]

    return run


def test_without_a_config_the_preset_is_fine_tuned(started, rendered_devkit):
    words = [f"data.train={rendered_devkit}:train", f"data.val={rendered_devkit}:val"]
    folders = [started(*words)[1] for _ in range(3)]
    assert folders == ["runs/finetune", "runs/finetune-2", "runs/finetune-3"]
    config, _, resume = started(*words, "train.steps=7")
    assert (config.train.weights, config.train.steps, resume) == (DEFAULT_PRESET, 7, False)


def test_the_recipe_has_the_network_of_the_preset():
    config, preset = read_config(FINETUNING), read_preset(FOLDER / DEFAULT_PRESET)
    for name, section in (("config", config.model), ("targets", config.targets), ("loss", config.loss)):
        assert section == from_dict(type(section), preset["network"][name])
    assert config.postprocess == from_dict(type(config.postprocess), preset["model"]["postprocess"])
    assert config.data.short_side == preset["model"]["short_sides"]
    assert config.data.long_side == preset["model"]["long_side"]
    assert (ROOT / "configs" / "finetune.yaml").read_text() == FINETUNING.read_text()


def test_the_name_of_the_config_is_that_of_the_run(started, rendered_devkit, tmp_path):
    (tmp_path / "cells.yaml").write_text(f"data: {{train: '{rendered_devkit}:train'}}")
    assert started("--config", "cells.yaml")[1] == "runs/cells"
    assert started("--config", "cells.yaml", "--run-dir", "here")[1] == "here"


def test_resume_needs_only_the_folder(started, rendered_devkit):
    started(f"data.train={rendered_devkit}:train", "train.steps=7", "--run-dir", "mine")
    config, folder, resume = started("--run-dir", "mine", "--resume")
    assert (config.train.steps, folder, resume) == (7, "mine", True)
    assert started("--run-dir", "mine", "--resume", "train.steps=9")[0].train.steps == 9


def test_the_end_names_commands_that_parse(started, rendered_devkit, capsys):
    started(f"data.train={rendered_devkit}:train", f"data.val={rendered_devkit}:val", "--run-dir", "my run")
    printed = capsys.readouterr().out
    assert "my run: trained to step 400; validation: AR@100 0.500" in printed
    lines = [shlex.split(line) for line in printed.partition("next:\n")[2].splitlines()]
    names = []
    for line in lines:
        start = next(i for i, word in enumerate(line) if word in ("propose", "evaluate", "export"))
        names.append(line[start])
        parsed = build_parser(line[start]).parse_args(line[start + 1 :])
        assert "my run" in str(vars(parsed))
    assert names == ["propose", "evaluate", "export"]
    started(f"data.train={rendered_devkit}:train", "--run-dir", "other")
    assert "evaluate" not in capsys.readouterr().out  # there is nothing to measure it on


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data.train is empty; name your images"),
        (["--resume"], "--resume needs the folder of the run"),
        (["--resume", "--run-dir", "none"], "none: holds no run to resume"),
        (["train.strategy=multi_worker", "data.train=x"], "needs --run-dir DIR, the same on every machine"),
        (["data.train=DEVKIT:train", "train.weights=none.npz"], "train.weights none.npz: no such file or preset"),
        (["data.train=DEVKIT:train", "--run-dir", "/dev/null/x"], "--run-dir /dev/null/x: cannot be written"),
    ],
)
def test_what_would_stop_the_run_is_told_at_once(started, rendered_devkit, words, message, capsys):
    assert main(["train", *(word.replace("DEVKIT", str(rendered_devkit)) for word in words)]) == 2
    assert message in capsys.readouterr().err
