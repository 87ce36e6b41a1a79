"""Which checkpoints of a damaged folder are taken."""

import os
import re
import shutil

import pytest
import tensorflow as tf

from tests.training.disk import fill
from zip_keras.errors import UserError
from zip_keras.training.checkpoints import Found, find_checkpoints, record_checkpoints
from zip_keras.training.run import _explain_writing
from zip_keras.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 2, 4 and 6, as a run's manager writes them."""
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    step = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(global_step=step, weights=tf.Variable(tf.random.normal([50, 20])))
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=3)
    for number in (2, 4, 6):
        step.assign(number)
        manager.save(checkpoint_number=number)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run" / "checkpoints")


def data(folder, step):
    return folder / f"ckpt-{step}.data-00000-of-00001"


def flip_a_bit(file, place):
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


def test_all_are_found_newest_first(folder):
    assert find_checkpoints(folder) == Found((6, 4, 2), {})
    assert find_checkpoints(folder / "none") == Found()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / "ckpt-6.index").unlink(), "its .index is missing"),
        (lambda f: data(f, 6).unlink(), "No such file"),
        (lambda f: os.truncate(data(f, 6), 100), ""),
        (lambda f: os.truncate(data(f, 6), 0), ""),
        (lambda f: os.truncate(f / "ckpt-6.index", 40), ""),
        (lambda f: os.truncate(f / "ckpt-6.index", 0), ""),
        (lambda f: (f / "ckpt-6.index").write_bytes(os.urandom(500)), ""),
        (lambda f: flip_a_bit(data(f, 6), 1000), "Checksum does not match|crc"),
        (lambda f: flip_a_bit(f / "ckpt-6.index", 30), ""),
    ],
)
def test_a_damaged_one_is_passed_over(folder, damage, reason):
    damage(folder)
    found = find_checkpoints(folder)
    assert found.readable == (4, 2)
    assert re.search(f"^ckpt-6: .*({reason})", found.damaged[6])


def test_files_of_another_step_or_another_run_are_passed_over(folder, saved):
    for file in folder.glob("ckpt-6.*"):
        shutil.copy(file, folder / file.name.replace("ckpt-6", "ckpt-8"))
        file.unlink()
        file.symlink_to(saved / file.name)
    found = find_checkpoints(folder)
    assert found.readable == (4, 2)
    assert found.damaged == {8: "ckpt-8: holds step 6", 6: "ckpt-6: its files are outside of the run"}
    tf.train.Checkpoint(other=tf.Variable(1.0)).write(str(folder / "ckpt-9"))
    assert find_checkpoints(folder).damaged[9] == "ckpt-9: not a checkpoint of a run"


@pytest.mark.parametrize(
    "state", [b"", os.urandom(200), b"\xff\xfe", b'model_checkpoint_path: "../../other/checkpoints/ckpt-6"\n']
)
def test_the_list_of_checkpoints_is_not_relied_on(folder, state):
    (folder / "checkpoint").write_bytes(state)
    assert find_checkpoints(folder).readable == (6, 4, 2)
    record_checkpoints(folder, [2, 4])
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(), str(folder), max_to_keep=2)
    assert manager.latest_checkpoint == str(folder / "ckpt-4")
    assert manager.checkpoints == [str(folder / "ckpt-2"), str(folder / "ckpt-4")]


def test_with_none_readable_it_refuses(folder):
    for step in (2, 4, 6):
        os.truncate(data(folder, step), 10)
    before = sorted((file.name, file.read_bytes()) for file in folder.iterdir())
    with pytest.raises(UserError, match=r"no checkpoint can be read \(ckpt-6: .*ckpt-2: .*nothing was changed"):
        find_checkpoints(folder)
    assert sorted((file.name, file.read_bytes()) for file in folder.iterdir()) == before


def test_a_list_that_names_files_elsewhere_is_refused(folder, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "checkpoint").write_text('model_checkpoint_path: "../run/checkpoints/ckpt-6"\n')
    with pytest.raises(UserError, match=r"no ckpt-\* in this folder, and files outside of it are not read"):
        find_checkpoints(alone)


def test_a_full_disk_is_told_in_words_and_loses_no_checkpoint(saved, small_disk):
    run = small_disk(300) / "run"
    folder = shutil.copytree(saved, run / "checkpoints")
    record_checkpoints(folder, [2, 4, 6])
    fill(run / "filler", leave=8192)
    step, weights = tf.Variable(8, dtype=tf.int64), tf.Variable(tf.random.normal([200, 20]))
    checkpoint = tf.train.Checkpoint(global_step=step, weights=weights)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1)
    with pytest.raises((OSError, tf.errors.OpError)) as raised:
        manager.save(checkpoint_number=8)
    told = str(_explain_writing(raised.value, RunFolder(run)))
    assert told.startswith(f"{run}: cannot be written (No space left on device); the checkpoint of step 6 is whole")
    assert find_checkpoints(folder).readable == (6, 4, 2)
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "ckpt-6")
    assert _explain_writing(tf.errors.ResourceExhaustedError(None, None, "OOM on a GPU"), RunFolder(run)) is None
