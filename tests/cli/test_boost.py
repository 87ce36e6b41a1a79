import argparse
import dataclasses
import json

import keras
import pytest

from tests.models.test_detectors import one_stage, spread, two_stage
from zip_keras.cli import boost
from zip_keras.cli.main import main
from zip_keras.data.sources import open_dataset
from zip_keras.models.detector import Detector
from zip_keras.training.boosting import BoostOptions


@pytest.fixture(scope="module")
def data(rendered_devkit):
    return f"{rendered_devkit}:train"


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "detector.keras"
    names = open_dataset(data).class_names
    Detector(spread(two_stage(names=names)), short_sides=64, long_side=96).save(file)
    return str(file)


@pytest.mark.slow
def test_a_boosted_model_and_its_features(model, data, tmp_path, capsys):
    output, features = tmp_path / "new" / "boosted.keras", tmp_path / "features"
    command = ["boost", model, "--data", data, "--images", "5", "--rois", "8", "--output", str(output)]
    assert main([*command, "--trees", "4", "--depth", "2"]) == 0
    printed = capsys.readouterr().out
    assert "4 trees of depth 2" in printed
    assert [file.name for file in output.parent.iterdir()] == ["boosted.keras"]  # the features are gone
    ensemble = keras.models.load_model(output).ensemble
    assert ensemble.num_trees == 4
    assert sum(ensemble.record["rois"].values()) == 5 * 8
    assert ensemble.record["data"] == data
    assert ensemble.record["ious"] == [0.6, 0.4]

    kept = [*command, "--features", str(features)]
    assert main([*kept, "--trees", "3"]) == 0
    written = {file.name: file.stat().st_mtime_ns for file in features.iterdir()}
    assert json.loads((features / "state.json").read_text())["images"] == 5
    assert main([*kept, "--trees", "2", "--depth", "1"]) == 0
    assert {file.name: file.stat().st_mtime_ns for file in features.iterdir()} == written  # not made again
    assert keras.models.load_model(output).ensemble.num_trees == 2
    capsys.readouterr()
    for other in (["--rois", "9"], ["--positive-iou", "0.5"]):
        assert main([*kept, *other]) == 2
        assert "holds features of another model, other images or other RoIs" in capsys.readouterr().err
    assert main([*kept, "--positive-iou", "0.3"]) == 2
    assert "negative_iou 0.4 is above positive_iou 0.3" in capsys.readouterr().err


def test_what_cannot_be_boosted(model, data, tmp_path, capsys):
    output = ["--output", str(tmp_path / "boosted.keras")]
    assert main(["boost", model, "--data", data, "--output", str(tmp_path / "boosted.npz")]) == 2
    assert "must end in .keras" in capsys.readouterr().err
    other = tmp_path / "other.keras"
    Detector(one_stage(names=open_dataset(data).class_names), short_sides=64, long_side=96).save(other)
    assert main(["boost", str(other), "--data", data, *output]) == 2
    assert "this detector has one stage" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*"))


def test_the_defaults_are_those_of_the_options():
    parser = argparse.ArgumentParser()
    boost.add_arguments(parser)
    given = vars(parser.parse_args(["model", "--data", "data", "--output", "boosted.keras"]))
    for field in dataclasses.fields(BoostOptions):
        assert given[field.name] == field.default, field.name
