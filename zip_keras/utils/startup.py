"""Load TensorFlow for a command on the chosen device, without its start-up messages."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from zip_keras.errors import UserError
from zip_keras.utils.progress import note, verbosity

_DEVICES = "write cpu, gpu or gpu:N"


def start_tensorflow(device: str | None = None) -> None:
    """Import TensorFlow and make only `device` visible to it.

    TensorFlow's start-up messages are hidden, unless the import fails or the process is verbose.

    Args:
        device: `cpu`, `gpu` (all GPUs), `gpu:N` (GPU number N) or None (all devices).

    Raises:
        UserError: the device does not exist.
    """
    kind, number = _parsed(device)
    if "tensorflow" not in sys.modules:
        if kind == "cpu":  # before the import, to skip the initialization of CUDA
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        if verbosity() > 0:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        note("loading TensorFlow ...")
        with _without_native_output() if verbosity() < 1 else contextlib.nullcontext():
            importlib.import_module("tensorflow").config.list_physical_devices()  # detects GPUs and logs them
    if kind is not None:
        _choose(kind, number)


def check_device(device: str) -> str:
    """Return `device` if its syntax is valid.

    Raises:
        ValueError: the syntax is invalid.
    """
    _parsed(device)
    return device


def _parsed(device: str | None) -> tuple[str | None, int | None]:
    if device is None:
        return None, None
    kind, colon, number = device.lower().partition(":")
    if kind not in ("cpu", "gpu") or (colon and (kind == "cpu" or not number.isdecimal())):
        raise ValueError(f"{device!r}: {_DEVICES}")
    return kind, int(number) if number else None


def _choose(kind: str, number: int | None) -> None:
    import tensorflow as tf

    gpus: list[Any] = tf.config.list_physical_devices("GPU")
    if kind == "cpu":
        chosen = []
    elif number is None and gpus:
        chosen = gpus
    elif number is not None and number < len(gpus):
        chosen = gpus[number : number + 1]
    else:
        asked = "gpu" if number is None else f"gpu:{number}"
        there = f"gpu:0 to gpu:{len(gpus) - 1}" if gpus else "none; use --device cpu, or leave --device out"
        raise UserError(f"--device {asked}: TensorFlow finds no such GPU; there are {there}")
    try:
        tf.config.set_visible_devices(chosen, "GPU")
    except RuntimeError as error:  # devices cannot change after the first use
        raise UserError(f"--device {kind}: {error}; start a new process for another device") from None


@contextlib.contextmanager
def _without_native_output() -> Iterator[None]:
    """Capture what native code writes to file descriptor 2, and show it only if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        saved = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            kept.seek(0)
            os.write(2, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
