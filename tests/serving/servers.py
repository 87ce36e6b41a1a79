"""A model server in a process of its own: `tensorflow_model_server` where it is on the PATH, else the loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = shutil.which("tensorflow_model_server")
WHICH = BINARY or "tests/serving/loopback.py (tensorflow_model_server is not on the PATH)"


class ModelServer:
    """A server of one model.

    Attributes:
        grpc, rest: addresses for `Client`.
        log: what it prints.
    """

    def __init__(self, base: Path, log: Path, name: str = "tiny"):
        self.name, self.log, self._base = name, log, base
        self._ports = [_free_port(), _free_port()]
        self.grpc, self.rest = f"127.0.0.1:{self._ports[0]}", f"http://127.0.0.1:{self._ports[1]}"
        self.process: subprocess.Popen | None = None

    def start(self, seconds: float = 300.0) -> "ModelServer":
        """Returns when the server answers."""
        program = [BINARY] if BINARY else [sys.executable, "-m", "tests.serving.loopback"]
        flags = {
            "port": self._ports[0],
            "rest_api_port": self._ports[1],
            "model_name": self.name,
            "model_base_path": self._base.resolve(),
            "file_system_poll_wait_seconds": 1,
        }
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*program, *(f"--{flag}={value}" for flag, value in flags.items())],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "ZIP_KERAS_LAZY": "1", "CUDA_VISIBLE_DEVICES": "-1"},
            )
        deadline = time.monotonic() + seconds
        while not all(_answers(port) for port in self._ports):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{WHICH} does not start:\n{self.log.read_text()}")
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """Ends the process at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "ModelServer":
        return self.start()

    def __exit__(self, *_) -> None:
        self.kill()


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _answers(port: int) -> bool:
    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
