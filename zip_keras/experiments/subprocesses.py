"""Subprocesses, one at a time: their output is shown and logged, and interrupts are forwarded to them."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import zip_keras

PROGRAM = (sys.executable, "-m", "zip_keras")
_TAIL = 8000  # last characters of the output, which are searched for the error


class Subprocesses:
    """Runs commands in subprocesses; use it as a context manager in the main thread.

    SIGINT and SIGTERM are forwarded to the subprocess, which may save its work. `run` raises `KeyboardInterrupt` after
    the subprocess has ended.

    Args:
        program: prefix of every command.
        keep_open: file descriptors that subprocesses inherit, for a lock that must outlive a killed parent.
    """

    def __init__(self, program: Sequence[str] = PROGRAM, keep_open: Sequence[int] = ()):
        self.program, self.keep_open = tuple(program), tuple(keep_open)
        self._process: subprocess.Popen[bytes] | None = None
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Subprocesses":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._hand_on)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, words: Sequence[str], log: Path) -> str | None:
        """Run one command, show its output on standard error and append it to `log`.

        Returns:
            None, or the reason why the command failed.

        Raises:
            KeyboardInterrupt: this process was interrupted.
        """
        self._stop_if_interrupted()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"$ zip-keras {shlex.join(words)}\n")
            # A new session, so that Ctrl-C in a terminal reaches the subprocess only once, through this process.
            with subprocess.Popen(
                [*self.program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.keep_open,
                env=_environment(),
            ) as process:
                self._process = process
                if self._received is not None:  # received after the check above
                    process.send_signal(self._received)
                tail = self._show(process, stream)
                code = process.wait()
                self._process = None
        self._stop_if_interrupted()
        return None if code == 0 else _reason(code, tail)

    def _show(self, process: subprocess.Popen[bytes], stream) -> str:
        tail = ""
        assert process.stdout is not None
        while part := os.read(process.stdout.fileno(), 65536):
            text = part.decode(errors="replace")
            sys.stderr.write(text)
            sys.stderr.flush()
            stream.write(text)
            stream.flush()
            tail = (tail + text)[-_TAIL:]
        return tail

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if self._process is not None:
            self._process.send_signal(number)

    def _stop_if_interrupted(self) -> None:
        if self._received is not None:
            raise KeyboardInterrupt


def _environment() -> dict[str, str]:
    """The environment of this process, with this package first in PYTHONPATH."""
    package = str(Path(zip_keras.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "ZIP_KERAS_LAZY": "1"}


def _reason(code: int, tail: str) -> str:
    """The last `error: ...` line, otherwise the last line, which is the exception of a traceback."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", tail) if line.strip()]
    if code < 0:
        name = signal.Signals(-code).name
        return f"ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit code {code}"])[-1]
