"""Atomic file writes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from zip_keras.errors import UserError


@contextlib.contextmanager
def atomic_write(file: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `file`, and move it to `file` when the block ends without an exception.

    Raises:
        UserError: the folder cannot be created or written.
    """
    target = Path(file)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
