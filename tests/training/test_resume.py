"""When a folder's run may go on, and what a worker may read."""

import dataclasses
import json
import os
import types

import numpy as np
import pytest

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError
from zip_keras.training.run_data import check_measurable
from zip_keras.training.run_folder import RunFolder
from zip_keras.training.strategies import is_chief


@pytest.fixture
def started(config, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open(config("train.schedule=cosine"), False, "images")
    yield folder
    folder.close()


def test_a_worker_ignores_what_the_chief_wrote(started, config):
    RunFolder(started.path, chief=False).open(config("train.schedule=cosine"), False, "images")
    started.close()
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


class TestDamagedFiles:
    @pytest.fixture
    def reopen(self, started, config):
        started.append_metrics({"step": 2, "loss": 1.0})
        return lambda: started.open(config("train.schedule=cosine"), True, "images")

    def steps(self, folder):
        return [json.loads(line)["step"] for line in (folder.path / "metrics.jsonl").read_text().splitlines()]

    def test_a_line_that_was_cut_off_does_not_spoil_the_next(self, started, reopen, capsys):
        file = started.path / "metrics.jsonl"
        file.write_text(file.read_text() + '{"step": 4, "lo')
        reopen()
        started.append_metrics({"step": 4, "loss": 0.5})
        assert self.steps(started) == [2, 4]
        assert capsys.readouterr().err == ""  # an everyday matter

    @pytest.mark.parametrize("garbage", [bytes(range(256)), b'{"step": "2"}\n[1]\n', b"[" * 100_000 + b"\n"])
    def test_garbage_lines_are_left_out_and_kept_aside(self, started, reopen, capsys, garbage):
        file = started.path / "metrics.jsonl"
        content = garbage + b"\n" + file.read_bytes()
        file.write_bytes(content)
        reopen()
        assert self.steps(started) == [2]
        assert (started.path / "metrics.damaged.jsonl").read_bytes() == content
        assert "lines cannot be read and were left out" in capsys.readouterr().err

    @pytest.mark.parametrize("content", ["", "{", '{"images": 1}', "[1]", "[" * 100_000])
    def test_a_broken_environment_is_kept_aside(self, started, reopen, capsys, content):
        (started.path / "environment.json").write_text(content)
        reopen()
        assert (started.path / "environment.damaged.json").read_text() == content
        assert "environment.json: cannot be read and is now environment.damaged.json" in capsys.readouterr().err
        starts = json.loads((started.path / "environment.json").read_text())
        assert [(start["images"], start["seed"]) for start in starts] == [("images", 0)]

    def test_steps_that_come_again_are_dropped(self, started, reopen):
        for step in (4, 6, 6, 8):
            started.append_metrics({"step": step, "loss": 0.5})
        reopen()
        started.go_on_from(6)
        assert self.steps(started) == [2, 4, 6, 6]

    def test_what_killed_processes_leave_is_removed(self, started, reopen):
        started.checkpoints.mkdir()
        (started.checkpoints / "ckpt-4_temp").mkdir()
        (started.checkpoints / "ckpt-4_temp" / "part-00000-of-00001.index").touch()
        (started.checkpoints / "ckpt-4.index.tempstate123").touch()
        for name in (".result.json.17.part", ".last.writing.keras"):
            (started.path / name).touch()
        (started.path / "notes.part").touch()
        reopen()
        assert not list(started.checkpoints.iterdir())
        names = {entry.name for entry in started.path.iterdir()}
        assert names == {"config.yaml", "environment.json", "metrics.jsonl", "checkpoints", "notes.part", ".lock"}


def test_a_second_start_says_who_is_at_work(started, config):
    with pytest.raises(UserError, match=rf"run: in use by process {os.getpid()} on "):
        RunFolder(started.path).open(config("train.schedule=cosine"), True, "images")


def test_a_model_without_checkpoints_is_not_replaced(started, config):
    (started.path / "last.keras").write_bytes(b"hours of work")
    with pytest.raises(UserError, match=r"holds last\.keras but no checkpoint"):
        started.open(config("train.schedule=cosine"), True, "images")


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


def test_images_unfit_for_evaluation_are_named_first():
    empty = np.zeros(0, bool)
    record = ImageRecord(1, "a.jpg", 10, 10, np.zeros((0, 4), np.float32), empty.astype("int32"), empty, empty, empty)
    dataset = Dataset("data", ("thing",), (record,))
    check_measurable(dataset)
    for records, message in (
        ((record, record), "image 1 is there twice"),
        ((dataclasses.replace(record, file="a.tif"),), r"a\.tif: validation images must be \.jpg"),
    ):
        with pytest.raises(UserError, match=message):
            check_measurable(dataclasses.replace(dataset, records=records))


def test_a_digest_depends_on_boxes_not_on_folders():
    boxes = np.array([[0, 0, 5, 5]], np.float32)
    one = np.zeros(1, bool)
    record = ImageRecord(1, "a.jpg", 10, 10, boxes, np.zeros(1, np.int32), one, one, np.ones(1, np.float32))
    dataset = Dataset("data", ("thing",), (record,))
    elsewhere = dataclasses.replace(dataset, records=(dataclasses.replace(record, file="b/a.jpg"),), spec="other")
    moved = dataclasses.replace(dataset, records=(dataclasses.replace(record, boxes=boxes + 1),))
    assert dataset.digest() == elsewhere.digest() != moved.digest()
