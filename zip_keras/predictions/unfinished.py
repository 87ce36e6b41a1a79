"""What a stopped prediction leaves, and what the same command continues from: the images that are done.

`.NAME.unfinished` lies beside the output NAME. Its first line says what made it (model, options); each further line
holds the predictions of one image, with a checksum. A line that a kill or a full disk cut short is dropped.
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
    """The images of one output file that are done.

    Args:
        output: the file that shall be written in the end.
        made_by: everything that the boxes of an image depend on, json values. What another model or other options left
            is not used, and is replaced by the first image that is added.

    Raises:
        UserError: the file is there and cannot be read.
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
        """Keeps the predictions of one image, which survive this process.

        Args:
            key: names the image and its content.
            part: its boxes.

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
                stream.truncate()  # half a line of before
                size = stream.write(b"%08x %s\n" % (zlib.crc32(text), text))
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror or error}") from None
        self._places[key] = self._end
        self._end += size

    def over(self, keys: Iterable[str]) -> Iterator[ImagePredictions]:
        """The predictions of these images, in this order; those that are not there are passed over.

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
        """Deletes the file: everything of it is in the output."""
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
    """Names an image by its id and its file's place, size and time, so that a repaired file counts as another image."""
    try:
        status = os.stat(file)
    except OSError:
        return json.dumps([image_id, file, offset])
    return json.dumps([image_id, file, offset, status.st_size, status.st_mtime_ns])


def files_of(path: str | Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a file, or of all files in a folder: tells one state of a model from another."""
    start = Path(path)
    files = [start] if start.is_file() else sorted(file for file in start.rglob("*") if file.is_file())
    return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(line[9:-1])


def _key(text: bytes) -> str:
    """The first element of a json list, without reading the rest of it."""
    return json.JSONDecoder().raw_decode(text.decode(), 1)[0]
