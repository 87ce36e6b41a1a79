"""Compute and check the SHA-256 of files."""

import hashlib
from pathlib import Path

from zip_keras.errors import UserError


def sha256(file: str | Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_sha256(file: Path, expected: object, said_by: Path) -> None:
    """Compare a file with a digest.

    Args:
        file: the file to check.
        expected: its expected digest.
        said_by: the file that lists the digest, for the message.

    Raises:
        UserError: the file cannot be read or differs.
    """
    try:
        found = sha256(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error}), but {said_by.name} lists it") from None
    if found != expected:
        raise UserError(
            f"{file}: not the file that was written (its SHA-256 begins with {found[:12]}, {said_by.name} says "
            f"{str(expected)[:12]}); copy or export it again"
        )
