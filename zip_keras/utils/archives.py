"""Read zip archives and NumPy's `.npz` within limits derived from the file size.

A header may state any shape, and a few kilobytes may unpack to gigabytes. Both are checked before arrays are read.
"""

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.utils.reading import open_regular

MAX_EXPANSION = 50  # maximum ratio of unpacked to packed size; outputs of networks compress at most five-fold
FREE_BYTES = 16 << 20  # unpacked size that is always allowed
_MAX_HEADER = 10_000  # maximum size of an array header in bytes, as in np.load
_BROKEN = (ValueError, EOFError, OSError, KeyError, TypeError, OverflowError, NotImplementedError, RuntimeError,
           SyntaxError, RecursionError, MemoryError, struct.error, zipfile.BadZipFile, zlib.error)  # fmt: skip


def check_expansion(name: str, unpacked: int, on_disk: int) -> None:
    """Raise `UserError` if a file of `on_disk` bytes unpacks to more than the limit."""
    if unpacked > max(FREE_BYTES, MAX_EXPANSION * on_disk):
        raise UserError(
            f"{name}: {on_disk:,} bytes unpack to {unpacked:,}, more than {MAX_EXPANSION} times as many; refused as a "
            "decompression bomb"
        )


@contextlib.contextmanager
def open_zip(file: str | Path, what: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive and refuse decompression bombs.

    Args:
        file: path of the archive.
        what: expected content in messages, for example "an npz file of proposals".

    Raises:
        UserError: the file is no regular file, no zip archive, broken, or unpacks to too much. Errors while the archive
            is read are converted too.
    """
    with open_regular(file) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                on_disk = stream.seek(0, 2)
                check_expansion(str(file), sum(member.file_size for member in members), on_disk)
                if len({member.filename for member in members}) < len(members):
                    raise UserError(f"{file}: not {what}: two members have the same name")
                yield archive
        except UserError:
            raise
        except _BROKEN as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise UserError(f"{file}: not {what}: {reason[:200]}") from None


@dataclass(frozen=True)
class ArrayHeader:
    """An array header, checked against the size of its member; `start` is the byte offset of the data."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int


class Npz:
    """The arrays of an open `.npz`. Headers are read at once, data on request."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self.headers = {
            member.filename.removesuffix(".npy"): self._header(member)
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }

    def read(self, name: str) -> np.ndarray:
        """Read a whole array."""
        header = self.headers[name]
        with self._archive.open(header.member) as member:
            member.read(header.start)
            flat = _exactly(member, math.prod(header.shape), header.dtype)
        # A copy, because arrays backed by bytes are read-only.
        return flat.copy().reshape(header.shape, order="F" if header.fortran else "C")

    @contextlib.contextmanager
    def rows(self, *names: str) -> Iterator[Any]:
        """Yield a function that returns the next n rows of each array. Arrays in Fortran order are read at once."""
        with contextlib.ExitStack() as stack:
            readers = [self._rows(name, stack) for name in names]
            yield lambda count: [reader(count) for reader in readers]

    def _rows(self, name: str, stack: contextlib.ExitStack) -> Any:
        header = self.headers[name]
        if header.fortran:
            position = 0
            whole = self.read(name)

            def slice_of(count: int) -> np.ndarray:
                nonlocal position
                position += count
                return whole[position - count : position]

            return slice_of
        member = stack.enter_context(self._archive.open(header.member))
        member.read(header.start)
        inner = header.shape[1:]

        def next_rows(count: int) -> np.ndarray:
            return _exactly(member, count * math.prod(inner), header.dtype).reshape(count, *inner)

        return next_rows

    def _header(self, member: zipfile.ZipInfo) -> ArrayHeader:
        with self._archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in reader:
                raise ValueError(f"array format {version}")
            shape, fortran, dtype = reader[version](stream, max_header_size=_MAX_HEADER)
            start = stream.tell()
        if dtype.hasobject:
            raise ValueError("an array of Python objects, which could run code")
        if dtype.itemsize == 0 and math.prod(shape) > 1_000_000:
            raise ValueError("an array of many empty texts")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != member.file_size - start:
            raise ValueError(f"array {member.filename} has the shape {shape} and {member.file_size - start} bytes")
        return ArrayHeader(member, shape, dtype, fortran, start)


def _exactly(stream: Any, count: int, dtype: np.dtype) -> np.ndarray:
    content = stream.read(count * dtype.itemsize)
    if len(content) != count * dtype.itemsize:
        raise ValueError("cut short")
    return np.frombuffer(content, dtype) if dtype.itemsize else np.zeros(count, dtype)
