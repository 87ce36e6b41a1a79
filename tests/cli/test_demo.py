"""The demo's command line is run by CI as a whole (`make demo`); here what it is put together from."""

import json
import sys
from pathlib import Path

import pytest

from zip_keras.cli import demo, main
from zip_keras.cli._parsers import build_parser
from zip_keras.config import ModelConfig, PostprocessConfig, from_dict
from zip_keras.config.files import read_config
from zip_keras.presets import FOLDER, list_presets, read_preset

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_config_that_starts_from_a_preset_has_its_network(file):
    config = read_config(file)
    if config.train.weights in list_presets():
        preset = read_preset(FOLDER / config.train.weights)
        assert config.model == from_dict(ModelConfig, preset["network"]["config"])
    if file.stem == "demo":  # before and after are measured alike
        assert config.train.weights in list_presets()
        assert config.postprocess == from_dict(PostprocessConfig, preset["model"]["postprocess"])


def test_the_photographs_are_in_the_repository():
    assert all((ROOT / name).is_file() for name in demo.PHOTOGRAPHS)


def test_the_table_shows_what_is_not_defined_as_a_dash():
    numbers = {"AR@10": 0.1, "AR@100": 0.25, "AR@1000": 0.5, "AR@100-S": None, "AR@100-M": 0.3, "AR@100-L": 0.4}
    head, row = demo._table({"methods": {"preset": numbers}}).splitlines()
    assert head.split() == list(numbers)
    assert row.split() == ["preset", "0.100", "0.250", "0.500", "-", "0.300", "0.400"]


def test_steps_are_shown_as_commands_and_a_failing_one_ends_it(tmp_path, monkeypatch, capsys):
    """All steps but the rendering are stood in for; their order and that all name the same files count."""
    steps = []

    def run(words):
        steps.append(words)
        build_parser(words[0]).parse_intermixed_args(words[1:])  # every step is a command that exists
        if words[0] == "prepare_data":
            return main(words)
        if words[0] == "compare":
            numbers = dict.fromkeys(("AR@10", "AR@100", "AR@1000", "AR@100-S", "AR@100-M", "AR@100-L"), 0.5)
            content = {"methods": dict.fromkeys(words[words.index("--names") + 1 :][:2], numbers)}
            Path(words[words.index("--json") + 1]).write_text(json.dumps(content))
        return 2 if failing == words[0] else 0

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys.modules["zip_keras.cli.main"], "main", run)
    arguments = ["demo", "--scenes", "10", "--work-dir", str(tmp_path / "demo"), "--export-dir", str(tmp_path / "out")]
    failing = None
    assert main(arguments) == 0
    names = [words[0] for words in steps]
    assert names == ["prepare_data", "propose", "train", "export", "propose", "compare", "propose", "detect"]
    before, after = steps[1], steps[4]
    assert before[before.index("--output") + 1] != after[after.index("--output") + 1]
    assert after[after.index("--model") + 1] == str(tmp_path / "out")
    captured = capsys.readouterr()
    assert "$ python scripts/propose.py" in captured.err
    assert "fine-tuned" in captured.out
    failing = "export"
    assert main(arguments) == 2
    assert "the demo stopped at export" in capsys.readouterr().err
