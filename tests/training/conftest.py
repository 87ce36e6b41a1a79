import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.training.tiny import tiny_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def devkit(rendered_devkit):
    """16 training scenes."""
    return rendered_devkit


@pytest.fixture
def config(devkit):
    """Makes the config of a tiny run with overrides."""
    return lambda *overrides: tiny_config(devkit, *overrides)


@pytest.fixture(scope="session")
def run_apart(devkit):
    """Runs tiny trainings in processes of their own, at the same time.

    Each process is `(runs, environment)`; it does its runs, `(run_dir, *overrides)`, one after the other.
    """

    def start(runs, environment):
        words = [word for run in runs for word in ("--", *map(str, run))]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.training.tiny", str(devkit), *words[1:]],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*processes):
        started = [start(*one) for one in processes]
        with ThreadPoolExecutor() as pool:  # reads all at once: a full pipe would stop a process that others wait for
            errors = [error[-3000:] for error in pool.map(lambda process: process.communicate()[1], started)]
        assert [process.returncode for process in started] == [0] * len(started), "\n\n".join(errors)

    run.start = start
    return run


@pytest.fixture
def wait_for_step():
    """Waits until a run has saved a checkpoint, terminates it, and returns its exit code and what it has said."""

    def wait(process, run_dir):
        while not list((run_dir / "checkpoints").glob("ckpt-*.index")):
            assert process.poll() is None, process.stderr.read()[-3000:]
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
        return process.returncode, said

    return wait


@pytest.fixture
def small_disk(tmp_path):
    """Makes a file system of so many kilobytes; root may, others skip the test."""
    places = []

    def make(kilobytes):
        place = tmp_path / "disk"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        places.append(place)
        return place

    yield make
    for place in places:
        subprocess.run(["umount", str(place)], check=True)
