"""Folders of numbered versions, as TensorFlow Serving reads them. Versions are written atomically."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.inference.model_files import next_version
from zip_keras.utils.locks import FolderLock


def write_version(folder: str | Path, version: int | None, write: Callable[[Path], None]) -> Path:
    """Create `folder`/VERSION atomically.

    Args:
        folder: `exported/NAME`; created if missing.
        version: an unused positive integer; None: one more than the highest version.
        write: fills the empty folder that it is given. The folder is renamed afterwards, or deleted if `write` raises.

    Raises:
        UserError: the version exists or is below 1, or the folder cannot be written or is in use by another export.
    """
    folder = Path(folder)
    if version is not None and version < 1:
        raise UserError(f"--version {version}: versions are integers from 1 on")
    with FolderLock(folder):
        for leftover in folder.glob(".[0-9]*.part"):  # of killed exports; the lock excludes running ones
            shutil.rmtree(leftover, ignore_errors=True)
        return _write(folder / str(next_version(folder) if version is None else version), write)


def _write(target: Path, write: Callable[[Path], None]) -> Path:
    if target.exists():
        raise UserError(f"{target}: exists already; name another --version, or none to take the next free one")
    # Not an integer, so a serving process that watches the folder ignores it until it is renamed.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        unfinished.mkdir(parents=True)
        write(unfinished)
        os.rename(unfinished, target)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"{target}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
