"""What the writers share: files that appear complete or not at all, and numbers that other programs can read."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zip_keras.errors import UserError
from zip_keras.evaluation.proposals import ImageProposals


@contextlib.contextmanager
def complete_or_nothing(file: str) -> Iterator[Path]:
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
        unfinished.unlink(missing_ok=True)


def refuse_not_finite(part: ImageProposals) -> None:
    """Raises ValueError where a box or score is NaN or infinite: json has no such numbers."""
    if not (np.isfinite(part.xywh).all() and np.isfinite(part.scores).all()):
        raise ValueError(f"image {part.image_id!r}: a box or score is not finite")
