"""Partial predictions of a stopped command, from which the same command resumes.

The file `.NAME.unfinished` is beside the output NAME. Its first line is a hash of what the predictions depend on
(model, options). Each further line holds the predictions of one image with a checksum. Incomplete lines are dropped.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImagePredictions

_COLUMNS = ("xywh", "scores", "categories", "levels")


class UnfinishedPredictions:
    """The finished images of one output file.

    Args:
        output: path of the final output.
        made_by: everything that the boxes of an image depend on, as JSON values. A file with another `made_by` is
            ignored and is replaced when the first image is added.

    Raises:
        UserError: the file exists and cannot be read.
    """

    def __init__(self, output: str | Path, made_by: Mapping[str, Any]):
        target = Path(output)
        self.path = target.with_name(f".{target.name}.unfinished")
        self._header = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest().encode() + b"\n"
        self._places: dict[str, int] = {}
        self._end = 0
        try:
            self._read()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}); delete it to start anew") from None

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: str, part: ImagePredictions) -> None:
        """Store the predictions of one image on disk.

        Args:
            key: identifies the image and its content, see `image_key`.
            part: predictions of the image.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        columns = {name: getattr(part, name).tolist() for name in _COLUMNS}
        text = json.dumps([key, part.image_id, columns], allow_nan=False, separators=(",", ":")).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "r+b" if self._end else "wb") as stream:
                if not self._end:
                    self._end = stream.write(self._header)
                stream.seek(self._end)
                stream.truncate()  # remove an incomplete line
                size = stream.write(b"%08x %s\n" % (zlib.crc32(text), text))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from None
        self._places[key] = self._end
        self._end += size

    def over(self, keys: Iterable[str]) -> Iterator[ImagePredictions]:
        """Yield the predictions of these images in this order; images that are not stored are skipped.

        Raises:
            UserError: another process has changed the file.
        """
        wanted = [key for key in keys if key in self._places]
        if not wanted:
            return
        with open(self.path, "rb") as stream:
            for key in wanted:
                stream.seek(self._places[key])
                line = stream.readline()
                if not _is_whole(line) or _key(line[9:]) != key:
                    raise UserError(
                        f"{self.path}: was changed by another process; delete it, and run one command at a time for an "
                        "output file"
                    )
                _, image_id, columns = json.loads(line[9:])
                yield ImagePredictions(
                    image_id,
                    np.asarray(columns["xywh"], np.float64).reshape(-1, 4),
                    np.asarray(columns["scores"], np.float64),
                    np.asarray(columns["categories"], np.int64),
                    np.asarray(columns["levels"], np.int64),
                )

    def remove(self) -> None:
        """Delete the file, after the output is complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        if not self.path.is_file():
            return
        with open(self.path, "rb") as stream:
            if stream.readline() != self._header:
                return
            self._end = stream.tell()
            for line in stream:
                if not _is_whole(line):
                    return
                self._places[_key(line[9:])] = self._end
                self._end += len(line)


def image_key(image_id: int | str, file: str, offset: int) -> str:
    """Key of an image: its id and the path, offset, size and time of its file, so that a changed file has a new key."""
    try:
        status = os.stat(file)
    except OSError:
        return json.dumps([image_id, file, offset])
    return json.dumps([image_id, file, offset, status.st_size, status.st_mtime_ns])


def files_of(path: str | Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a file, or of all files in a folder, to identify the state of a model."""
    start = Path(path)
    files = [start] if start.is_file() else sorted(file for file in start.rglob("*") if file.is_file())
    return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(line[9:-1])


def _key(text: bytes) -> str:
    """The first element of a JSON list, without parsing the rest."""
    return json.JSONDecoder().raw_decode(text.decode(), 1)[0]
