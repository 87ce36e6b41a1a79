"""`environment.json` of a run folder: command, versions and data of each start."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zip_keras.errors import UserError
from zip_keras.utils.environment import ENVIRONMENT_FILE

DAMAGED_FILE = "environment.damaged.json"


def read_starts(run_dir: str | Path) -> list[dict[str, Any]]:
    """The starts of a run in order, with `time`, `command`, `versions` and `images` (digest of the training data).

    Raises:
        UserError: the file cannot be read.
    """
    file = Path(run_dir) / ENVIRONMENT_FILE
    if not file.exists():
        return []
    try:
        starts = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise ValueError("it holds no list of starts")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read ({error}); delete it, the run does not need it") from None
    return starts


def set_aside_if_damaged(run_dir: str | Path, say: Callable[[str], None]) -> None:
    """Rename an unreadable file to `environment.damaged.json` and print a message."""
    file = Path(run_dir) / ENVIRONMENT_FILE
    try:
        read_starts(run_dir)
    except UserError:
        try:
            file.replace(file.with_name(DAMAGED_FILE))
        except OSError as error:
            raise UserError(f"{file}: cannot be moved aside: {error.strerror or error}") from None
        say(
            f"{file}: cannot be read and is now {DAMAGED_FILE}; whether the training images are those that the run was "
            "started with is not checked this time"
        )
