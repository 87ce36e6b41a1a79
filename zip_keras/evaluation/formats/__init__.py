"""Proposal files of several kinds, read and written as streams of `ImageProposals`.

A format is a module with `read(file) -> Iterator[ImageProposals]` and `write(file, parts)`. An image may come in
several parts. Readers check the structure of a file; whether its boxes make sense is for `evaluation.checks`.
"""

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from zip_keras.errors import UserError
from zip_keras.evaluation.proposals import ImageProposals, Proposals, gather

SUFFIXES = {".json": "coco_results"}


def format_of(file: str) -> str:
    """The name of the format that a file's suffix stands for.

    Raises:
        UserError: unknown suffix.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{file}: unknown kind of proposal file {suffix!r}; use one of {', '.join(SUFFIXES)}")
    return SUFFIXES[suffix]


def stream_proposals(file: str) -> Iterator[ImageProposals]:
    """The parts of a proposal file, one after the other, in bounded memory where the format allows it."""
    name = format_of(file)
    if not Path(file).is_file():
        raise UserError(f"{file}: no such file")
    return _module(name).read(file)


def read_proposals(file: str) -> Proposals:
    """A whole proposal file, unchecked; `checks.load_proposals` also checks it against the ground truth.

    Raises:
        UserError: missing, of unknown kind or broken.
    """
    return gather(stream_proposals(file), name=str(file))


def write_proposals(file: str, parts: Iterable[ImageProposals]) -> int:
    """Writes parts as they come; the file appears, complete, at the end.

    Args:
        parts: a `Proposals`, or a generator that makes one image after the other.

    Returns:
        the number of boxes written.

    Raises:
        UserError: unknown suffix, or the folder cannot be written.
        ValueError: a box or score is not finite.
    """
    return _module(format_of(file)).write(file, parts)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"zip_keras.evaluation.formats.{name}")
