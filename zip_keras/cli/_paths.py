"""Checks of a command's paths before it starts and before TensorFlow is imported."""

import os
from collections.abc import Sequence
from pathlib import Path

from zip_keras.errors import UserError


def check_output_file(option: str, file: str | Path | None) -> None:
    """Check that a file can be written. Its folder may be missing. None is accepted.

    Raises:
        UserError: the path is a folder, or its folder cannot be created or written.
    """
    if file is None:
        return
    path = Path(file)
    if path.is_dir():
        raise UserError(f"{_named(option, file)}: is a folder; name a file")
    _check_folder(option, path, path.parent)


def check_output_folder(option: str, folder: str | Path | None) -> None:
    """Check that a folder can be created or written. None is accepted.

    Raises:
        UserError: the path is a file, or the folder cannot be created or written.
    """
    if folder is not None:
        _check_folder(option, Path(folder), Path(folder))


def check_picture(option: str, file: str, suffixes: Sequence[str]) -> None:
    """Raise `UserError` unless the file's suffix is one of `suffixes`."""
    if Path(file).suffix.lower() not in suffixes:
        raise UserError(f"{option} {file}: the suffix must be one of {', '.join(suffixes)}")


def check_input_file(option: str, file: str | Path) -> None:
    """Raise `UserError` unless `file` is a readable file."""
    path = Path(file)
    if not path.exists():
        raise UserError(f"{_named(option, file)}: no such file")
    if path.is_dir():
        raise UserError(f"{_named(option, file)}: is a folder; name a file")
    if not os.access(path, os.R_OK):
        raise UserError(f"{_named(option, file)}: permission denied; change its permissions")


def _check_folder(option: str, target: Path, folder: Path) -> None:
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(
            f"{_named(option, target)}: cannot be written: {there} is a file, not a folder; name another path"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"{_named(option, target)}: cannot be written: no write permission in {there}; name another path"
        )


def _named(option: str, path: str | Path) -> str:
    """`--output FILE`, or the path alone for a positional argument."""
    return f"{option} {path}" if option else str(path)
