import os
import signal
import subprocess
import sys
import threading

import pytest

from zip_keras.errors import UserError
from zip_keras.utils.locks import LOCK_FILE, FolderLock

HOLD = "import sys, time; from zip_keras.utils.locks import FolderLock; FolderLock(sys.argv[1]).acquire()"


def test_the_second_says_who_holds_it(tmp_path):
    folder = tmp_path / "new"
    first = FolderLock(folder)
    with first:
        first.acquire()  # held already: nothing happens
        with pytest.raises(UserError, match=rf"new: in use by process {os.getpid()} on \S+, started \d{{4}}-"):
            FolderLock(folder).acquire()
    with FolderLock(folder):
        pass
    assert not list(folder.iterdir())


def test_it_dies_with_its_process(tmp_path):
    program = f"{HOLD}; print('held', flush=True); time.sleep(60)"
    lazily = {**os.environ, "ZIP_KERAS_LAZY": "1"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, env=lazily, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"in use by process {process.pid} "):
            FolderLock(tmp_path).acquire()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / LOCK_FILE).exists()
    FolderLock(tmp_path).acquire()


def test_a_child_that_was_given_it_holds_it_too(tmp_path):
    lock = FolderLock(tmp_path)
    lock.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.descriptor]
    ) as process:
        os.close(lock.descriptor)  # as if this process were killed
        with pytest.raises(UserError, match="in use by process"):
            FolderLock(tmp_path).acquire()
        process.communicate(b"\n")
    FolderLock(tmp_path).acquire()


def test_one_of_many_gets_it(tmp_path):
    """Also while others open the file that a holder is about to remove."""
    inside, most, errors = [], [], []

    def work():
        for _ in range(200):
            try:
                with FolderLock(tmp_path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except UserError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(errors) == 1600
    assert all("in use by" in error for error in errors)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be written: "):
        FolderLock(tmp_path / "file").acquire()
