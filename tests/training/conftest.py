import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.tiny import tiny_config
from zip_keras.data.synthetic import write_devkit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def devkit(tmp_path_factory):
    """16 training scenes."""
    folder = tmp_path_factory.mktemp("scenes") / "devkit"
    write_devkit(str(folder), scenes=20, seed=3)
    return folder


@pytest.fixture
def config(devkit):
    """Makes the config of a tiny run with overrides."""
    return lambda *overrides: tiny_config(devkit, *overrides)


@pytest.fixture(scope="session")
def run_apart(devkit):
    """Runs tiny trainings in processes of their own, at the same time; each is (run_dir, overrides, environment)."""

    def start(run_dir, overrides, environment):
        return subprocess.Popen(
            [sys.executable, "-m", "tests.training.tiny", str(devkit), str(run_dir), *overrides],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*runs):
        processes = [start(*one) for one in runs]
        errors = [process.communicate(timeout=400)[1][-3000:] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(runs), "\n\n".join(errors)

    run.start = start
    return run


@pytest.fixture
def wait_for_step():
    """Waits until a run has saved a checkpoint, then terminates it."""

    def wait(process, run_dir):
        deadline = time.monotonic() + 300
        while not list((run_dir / "checkpoints").glob("ckpt-*.index")):
            assert process.poll() is None, process.stderr.read()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=120)

    return wait
