import json

import pytest

from zip_keras.cli import main
from zip_keras.data.sources import open_dataset


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepare") / "scenes"
    assert main(["prepare_data", "--synthetic", "12", "--output", str(folder), "--workers", "2"]) == 0
    return folder


def test_scenes_become_records_with_report_and_picture(scenes, tmp_path, capsys):
    output, report = tmp_path / "records", tmp_path / "report.json"
    arguments = [f"{scenes}:train", "--output", str(output), "--workers", "1", "--report", str(report)]
    assert main(["prepare_data", *arguments]) == 0
    printed = capsys.readouterr().out
    dataset = open_dataset(f"{scenes}:train")
    objects = sum(len(record.boxes) for record in dataset.records)
    assert f"10 images (0 without objects), {objects} objects" in printed
    assert "anchor fit: share of" in printed
    content = json.loads(report.read_text())
    assert (content["images"], content["objects"]) == (10, objects)
    assert json.loads((output / "report.json").read_text()) == content
    assert (output / "anchor_fit.png").stat().st_size > 5_000
    assert len(open_dataset(f"records:{output}")) == 10
    assert main(["prepare_data", *arguments]) == 2
    assert "already holds records" in capsys.readouterr().err
    assert main(["prepare_data", *arguments, "--resume"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either SPEC or --synthetic N"),
        (["x:train", "--synthetic", "10"], "give either SPEC or --synthetic N"),
        (["nowhere:train"], "nowhere: no such folder"),
        (["nowhere:train", "--workers", "-1"], "--workers must be at least 1, not -1"),
        (["nowhere:train", "--short-side", "0"], "--short-side must be"),
        (["nowhere:train", "--config", "none.yaml"], "none.yaml: no such config file"),
        (["nowhere:train", "--model", "none"], "none: no such model"),
        (["nowhere:train", "--classes", "none.txt"], "none.txt: cannot be read"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, tmp_path, capsys):
    assert main(["prepare_data", *arguments, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_command_needs_no_tensorflow(run_lazily):
    program = (
        "import sys\n"
        "import zip_keras.cli.prepare_data, zip_keras.data.synthetic, zip_keras.data.checks.images\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules), 'too much was imported'"
    )
    run_lazily(program)


def test_the_anchors_judged_are_those_of_the_network(scenes, small_run, tmp_path, capsys):
    config = tmp_path / "small.yaml"
    config.write_text("data: {short_side: 160, long_side: 200}\nmodel: {anchors: {scales: [[8], [], [300]]}}\n")
    written = {}
    for name, arguments in {
        "config": ["--config", str(config)],
        "model": ["--model", str(small_run)],
        "sized": ["--model", str(small_run), "--short-side", "99"],
    }.items():
        output = tmp_path / name
        assert main(["prepare_data", f"{scenes}:val", "--output", str(output), "--workers", "1", *arguments]) == 0
        written[name] = json.loads((output / "report.json").read_text())
    assert f"an anchor of {config} covers, images of short side 160" in capsys.readouterr().out
    fits = {name: content["anchor_fit"] for name, content in written.items()}
    assert fits["config"]["anchors"]["scales"] == [[8.0], [], [300.0]]
    assert fits["config"]["levels_then_any"]["shape@0.5"][1] == 0
    assert (fits["model"]["short_side"], fits["sized"]["short_side"]) == (128, 99)
    assert fits["model"]["network"] == str(small_run)
    assert written["config"]["versions"]["numpy"]


def test_bccd_is_refused_and_prepared_with_skip(real_data, tmp_path, capsys):
    spec, output = f"{real_data('bccd')}:trainval", str(tmp_path / "out")
    assert main(["prepare_data", spec, "--output", output]) == 2
    assert "BloodImage_00338.xml: object 13" in capsys.readouterr().err
    assert main(["prepare_data", spec, "--output", output, "--on-bad-box=skip", "--workers", "2"]) == 0
    printed = capsys.readouterr().out
    assert "zero_size: 2 skipped" in printed
    assert "BloodImage_00343.xml: object 4" in printed
    assert len(open_dataset(f"records:{output}")) == 292
