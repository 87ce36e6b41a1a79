"""The program: overview, help, versions, global options, and what it imports."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from zip_keras.cli import main
from zip_keras.cli._options import in_range
from zip_keras.cli._parsers import COMMANDS, GROUPS, build_parser
from zip_keras.utils import progress, startup

ROOT = Path(__file__).parents[2]


def test_the_overview_lists_every_command_by_group(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert main(["help"]) == main([]) == 0
    assert capsys.readouterr().out == printed * 2
    positions = [printed.index(f"\n{group}\n") for group in GROUPS]
    assert positions == sorted(positions)
    modules = {file.stem for file in (ROOT / "zip_keras" / "cli").glob("[a-z]*.py")} - {"main"}
    assert modules == set(COMMANDS)
    assert all(f"\n  {name} " in printed for name in COMMANDS)


def test_help_of_every_command_has_examples(capsys):
    for name in COMMANDS:
        assert main(["help", name]) == 0
        of_help = capsys.readouterr().out
        assert main([name.replace("_", "-"), "--help"]) == 0
        assert capsys.readouterr().out == of_help
        assert "examples:" in of_help
        assert f"  zip-keras {name}" in of_help
        assert "--device" in of_help


def test_versions_without_imports(capsys):
    assert main(["--version"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"keras {metadata.version('keras')}" in printed
    assert f"tensorflow {metadata.version('tensorflow')}" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prepose"], "unknown command 'prepose'; did you mean 'propose'?"),
        (["help", "evaluat"], "did you mean 'evaluate'?"),
        (["zzz"], "zip-keras --help lists the commands"),
        (["propose", "x", "--modle", "y"], "unknown argument '--modle'; did you mean --model?"),
        (["propose", "x", "--top", "0"], "--top must be at least 1, not 0; see zip-keras propose --help"),
        (["propose", "x", "--vote", "1"], "--vote must be at least 0 and below 1, not 1"),
        (["propose", "x", "--device", "tpu"], "--device: 'tpu': write cpu, gpu or gpu:N"),
        (["--device", "gpu:", "propose", "x"], "--device: 'gpu:': write cpu, gpu or gpu:N"),
        (["--bogus", "propose"], "--bogus"),
    ],
)
def test_bad_words_are_one_line(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_ranges():
    assert in_range(float, low=0, high=1)("1") == 1.0
    assert in_range(int)("-7") == -7
    for text in ("nan", "1.01", "-0.1", "x"):
        with pytest.raises(Exception, match="must be"):
            in_range(float, low=0, high=1)(text)
    with pytest.raises(Exception, match=r"must be a whole number, not '1\.5'"):
        in_range(int)("1.5")


def test_global_options_go_before_and_after_the_command(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "zip_keras.cli.presets.run", lambda arguments: seen.append((progress.verbosity(), arguments.device))
    )
    for words in (["-q", "--device", "cpu", "presets"], ["presets", "-q", "--device", "cpu"], ["-v", "presets"]):
        assert main(words) == 0
    assert seen == [(-1, "cpu"), (-1, "cpu"), (1, None)]
    assert progress.verbosity() == 0


def test_a_command_inside_of_another_is_as_quiet(monkeypatch):
    seen = []

    def run(arguments):
        if arguments.name != "inner":
            main(["presets", "inner"])
        seen.append(progress.verbosity())

    monkeypatch.setattr("zip_keras.cli.presets.run", run)
    main(["-q", "presets"])
    assert seen == [-1, -1]


class TestDevices:
    @pytest.fixture
    def visible(self, monkeypatch):
        """Two GPUs; gives what is made visible."""
        tf = pytest.importorskip("tensorflow")
        chosen = []
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
        monkeypatch.setattr(tf.config, "set_visible_devices", lambda devices, kind: chosen.append((devices, kind)))
        return chosen

    @pytest.mark.parametrize(
        ("device", "devices"), [("cpu", []), ("gpu", ["first", "second"]), ("gpu:1", ["second"]), ("GPU:0", ["first"])]
    )
    def test_the_others_are_hidden(self, visible, device, devices):
        startup.start_tensorflow(device)
        assert visible == [(devices, "GPU")]

    def test_a_gpu_that_is_not_there_is_named(self, visible):
        with pytest.raises(Exception, match="--device gpu:2: TensorFlow finds no such GPU; there are gpu:0 to gpu:1"):
            startup.start_tensorflow("gpu:2")
        assert visible == []

    def test_without_a_choice_nothing_is_hidden(self, visible):
        startup.start_tensorflow(None)
        assert visible == []


def test_wrong_paths_are_told_before_tensorflow_is_imported(tmp_path, encoded_image):
    image = tmp_path / "photo.jpg"
    image.write_bytes(encoded_image("JPEG", 20, 30))
    done = _python([str(Path(__file__).with_name("wrong_paths.py")), str(image), str(tmp_path)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_the_program_starts_without_tensorflow(tmp_path):
    """Also as a module: the package must not import the models then."""
    for command in (["-m", "zip_keras"], [str(ROOT / "scripts" / "zip-keras")]):
        done = _python(["-X", "importtime", *command, "--help"], tmp_path, lazy=False)
        assert done.returncode == 0, done.stderr
        assert "prepare_data" in done.stdout
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time" in line}
        assert "zip_keras.cli.main" in imported
        assert not imported & {"tensorflow", "keras", "matplotlib", "scipy"}


def test_completion_knows_commands_and_options(capsys):
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert "--min-score" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_parsers_of_all_commands_have_no_equal_options():
    for name in COMMANDS:
        assert len(set(build_parser(name).option_names)) == len(build_parser(name).option_names)


def _python(words, folder, lazy=True):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("ZIP_KERAS_LAZY", None)
    if lazy:
        environment["ZIP_KERAS_LAZY"] = "1"
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
