"""Files that appear complete or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from zip_keras.errors import UserError


@contextlib.contextmanager
def atomic_write(file: str | Path) -> Iterator[Path]:
    """Gives a path beside `file` to write to, and moves it to `file` when the block ends without an exception.

    Raises:
        UserError: the folder cannot be made or written.
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
