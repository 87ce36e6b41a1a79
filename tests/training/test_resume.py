"""When a folder's run may go on, and what a worker may look at."""

import dataclasses
import json
import types

import numpy as np
import pytest

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError
from zip_keras.training.run import _check_measurable
from zip_keras.training.run_folder import RunFolder
from zip_keras.training.strategies import is_chief


@pytest.fixture
def started(config, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open(config("train.schedule=cosine"), False, "images")
    return folder


def test_a_worker_does_not_mind_what_the_chief_has_written_already(started, config):
    RunFolder(started.path, chief=False).open(config("train.schedule=cosine"), False, "images")
    with pytest.raises(UserError, match="holds a run already"):
        RunFolder(started.path).open(config("train.schedule=cosine"), False, "images")


def test_other_images_are_another_run(started, config):
    started.open(config("train.schedule=cosine"), True, "images")
    with pytest.raises(UserError, match="holds other images or boxes than when the run was started"):
        started.open(config("train.schedule=cosine"), True, "others")


def test_another_length_of_a_cosine_is_told(started, config, capsys):
    started.open(config("train.schedule=cosine"), True, "images")
    assert capsys.readouterr().err == ""
    started.open(config("train.schedule=cosine", "train.steps=9"), True, "images")
    assert "train.steps was 4 and is 9" in capsys.readouterr().err


def test_a_line_that_was_cut_off_does_not_spoil_the_next(started, config):
    started.append_metrics({"step": 2, "loss": 1.0})
    file = started.path / "metrics.jsonl"
    file.write_text(file.read_text() + '{"step": 4, "lo')
    started.open(config("train.schedule=cosine"), True, "images")
    started.append_metrics({"step": 4, "loss": 0.5})
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [2, 4]


def test_the_best_is_the_best_by_the_same_measure(started, config):
    started.append_metrics({"step": 2, "AR@100": 0.5})
    assert (started.best_recall(), started.evaluated(2), started.evaluated(4)) == (0.5, True, False)
    started.open(config("train.schedule=cosine", "postprocess.max_proposals=7"), True, "images")
    assert (started.best_recall(), started.evaluated(2)) == (-1.0, False)


@pytest.mark.parametrize(
    ("jobs", "task", "number", "expected"),
    [
        (["worker"], "worker", 0, True),
        (["worker"], "worker", 1, False),
        (["chief", "worker"], "chief", 0, True),
        (["chief", "worker"], "worker", 0, False),
        ([], "", 0, True),
    ],
)
def test_one_process_writes(jobs, task, number, expected):
    resolver = types.SimpleNamespace(
        task_type=task, task_id=number, cluster_spec=lambda: types.SimpleNamespace(jobs=jobs)
    )
    assert is_chief(types.SimpleNamespace(cluster_resolver=resolver)) is expected


def test_images_that_an_evaluation_cannot_take_are_named_before_the_training():
    empty = np.zeros(0, bool)
    record = ImageRecord(1, "a.jpg", 10, 10, np.zeros((0, 4), np.float32), empty.astype("int32"), empty, empty, empty)
    dataset = Dataset("data", ("thing",), (record,))
    _check_measurable(dataset)
    for records, message in (
        ((record, record), "image 1 is there twice"),
        ((dataclasses.replace(record, file="a.tif"),), r"a\.tif: validation images must be \.jpg"),
    ):
        with pytest.raises(UserError, match=message):
            _check_measurable(dataclasses.replace(dataset, records=records))


def test_a_digest_of_images_tells_boxes_apart_but_not_places():
    boxes = np.array([[0, 0, 5, 5]], np.float32)
    one = np.zeros(1, bool)
    record = ImageRecord(1, "a.jpg", 10, 10, boxes, np.zeros(1, np.int32), one, one, np.ones(1, np.float32))
    dataset = Dataset("data", ("thing",), (record,))
    elsewhere = dataclasses.replace(dataset, records=(dataclasses.replace(record, file="b/a.jpg"),), spec="other")
    moved = dataclasses.replace(dataset, records=(dataclasses.replace(record, boxes=boxes + 1),))
    assert dataset.digest() == elsewhere.digest() != moved.digest()
