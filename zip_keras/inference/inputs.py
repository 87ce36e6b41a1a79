"""Resolve image files, folders, text lists and data sets to one list of images."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from zip_keras.data.encoded import describe
from zip_keras.data.formats.files import read_lines
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")

BadImage = Literal["error", "skip"]


class EncodedImage(Protocol):
    """The location of an image's bytes: an `ImageRecord` or an `ImageFile`."""

    @property
    def file(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...


@dataclass(frozen=True)
class ImageFile:
    """An input image.

    Attributes:
        image_id: see `image_id_of`; images of a data set keep their own ids.
        file, offset, length: location of its bytes, as in `ImageRecord`.
        boxes: float32 `[M, 4]` `[y1, x1, y2, x2]` in pixels, the ground truth of a data set without difficult objects
            and crowds; None if unknown.
    """

    image_id: int | str
    file: str
    offset: int = 0
    length: int = -1
    boxes: np.ndarray | None = None


def find_images(paths: Sequence[str], on_bad_image: BadImage = "error") -> tuple[list[ImageFile], dict[str, int]]:
    """Find the images named by `paths`, in that order.

    Args:
        paths: each is an image file, a folder (searched recursively, sorted by path), a text list of images (one per
            line, relative to the working folder or to the list), or a data set spec such as `data/voc07:val`.
        on_bad_image: `skip` leaves out missing images of a list and missing or broken images of a data set; `error`
            raises.

    Returns:
        The images, and the number of skipped files by reason.

    Raises:
        UserError: a path does not exist, a folder or list has no image, or two images have the same id.
    """
    images: list[ImageFile] = []
    passed_over: dict[str, int] = {}
    for path in paths:
        found, counts = _of_path(path, on_bad_image)
        images += found
        for kind, count in counts.items():
            passed_over[kind] = passed_over.get(kind, 0) + count
    _refuse_equal_ids(images)
    return images, passed_over


def _of_path(path: str, on_bad_image: BadImage) -> tuple[list[ImageFile], dict[str, int]]:
    if os.path.isdir(path) and not _has_shards(path):
        return _of_folder(path)
    if os.path.isfile(path) and not path.endswith(".json"):
        if path.lower().endswith(".txt"):
            return _of_list(path, on_bad_image)
        return _plain([path]), {}  # any suffix: the decoder detects the format
    if not os.path.exists(path) and ":" not in path:
        raise UserError(
            f"{path}: no such image, folder or list; a data set is written like data/voc07:val or records:DIR"
        )
    return _of_dataset(path, on_bad_image)


def _of_folder(path: str) -> tuple[list[ImageFile], dict[str, int]]:
    names: list[str] = []
    others = 0
    for folder, _, files in os.walk(path):
        chosen = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
        names += [os.path.join(folder, name) for name in chosen]
        others += len(files) - len(chosen)
    if not names:
        raise UserError(f"{path}: no image in the folder; names must end in {', '.join(IMAGE_SUFFIXES)}")
    return _plain(sorted(names)), {"files of other kinds": others} if others else {}


def _of_list(path: str, on_bad_image: BadImage) -> tuple[list[ImageFile], dict[str, int]]:
    lines = read_lines(path)
    names: list[str] = []
    missing: list[str] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        beside = os.path.join(os.path.dirname(path), line)
        if not line:
            continue
        if os.path.isfile(line) or os.path.isfile(beside):
            names.append(line if os.path.isfile(line) else beside)
        else:
            missing.append(f"line {number}: no file {line!r}")
    if missing and on_bad_image == "error":
        more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise UserError(
            f"{path}: {', '.join(missing[:20])}{more}, neither from here nor from the list's folder; write paths of "
            "image files, or name a data set by its spec, or add --on-bad-image skip"
        )
    if not names:
        raise UserError(f"{path}: no image in the list")
    return _plain(names), {"missing images": len(missing)} if missing else {}


def _of_dataset(spec: str, on_bad_image: BadImage) -> tuple[list[ImageFile], dict[str, int]]:
    """The images of a data set. Defective boxes are skipped: the boxes are only drawn."""
    from zip_keras.data.sources import open_dataset

    dataset = open_dataset(spec, on_defect="skip", on_bad_image=on_bad_image)
    images = [
        ImageFile(r.image_id, r.file, r.offset, r.length, r.boxes[~(r.difficult | r.crowd)]) for r in dataset.records
    ]
    return images, {f"{kind} ({spec})": count for kind, count in dataset.skipped.items()}


def _plain(files: Iterable[str]) -> list[ImageFile]:
    return [ImageFile(image_id_of(file), file) for file in files]


def _has_shards(folder: str) -> bool:
    from zip_keras.data.tfrecord.shards import shard_paths

    return bool(shard_paths(folder))


def _refuse_equal_ids(images: Sequence[ImageFile]) -> None:
    """Raise `UserError` for duplicate ids: proposal files identify images by id only."""
    first: dict[int | str, ImageFile] = {}
    for image in images:
        other = first.setdefault(image.image_id, image)
        if other is not image:
            names = [describe(i.file, i.offset, i.length) for i in (other, image)]
            raise UserError(
                f"{names[0]} and {names[1]}: both have the image id {image.image_id!r}, so their proposals could not "
                f"be told apart; rename one, name each image once, or write two files"
            )
