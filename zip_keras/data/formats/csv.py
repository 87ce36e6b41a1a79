"""CSV files of boxes for a folder of images, in two common layouts.

- TensorFlow Object Detection: `filename,width,height,class,xmin,ymin,xmax,ymax`, in pixels.
- OpenImages: `ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf,...`, fractions of the image. A second file beside it,
  `class-descriptions-boxable.csv` or `class-descriptions.csv` (`/m/01g317,Person`), maps label codes to names.

Each row is an object. An image without objects needs a row with an empty class and empty numbers.
"""

import csv
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.formats.files import IMAGE_SUFFIXES, images_by_stem, read_lines
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError

Sizer = Callable[[str], tuple[int, int] | None]

MAX_BYTES = 4 << 30  # the training boxes of OpenImages take 2.3 GB
_PIXELS = ("filename", "class", "xmin", "ymin", "xmax", "ymax")
_FRACTIONS = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax")
_DESCRIPTIONS = ("class-descriptions-boxable.csv", "class-descriptions.csv", "oidv7-class-descriptions-boxable.csv")


def read_csv(
    path: str, log: DefectLog, sizer: Sizer, *, image_folder: str | None = None
) -> tuple[list[ImageAnnotation], list[str]]:
    """Read one CSV file.

    Args:
        path: path of the file.
        log: judges missing and broken images.
        sizer: image file -> (height, width), or None to skip the image; called if the file states no size.
        image_folder: folder of the images; None: search near the CSV file.

    Returns:
        The annotations in the order in which images first occur, and the sorted class names.

    Raises:
        UserError: unknown columns, or a row that does not match them.
    """
    lines = read_lines(path, MAX_BYTES)
    rows = csv.reader(lines, strict=True)
    try:
        head = [word.strip() for word in next(rows, [])]
        columns = _columns(head, path)
        objects, sizes = _objects(rows, head, columns, path)
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.line_num} is not csv ({error})") from None
    folder = image_folder or _image_folder(path, list(objects))
    files = _files(folder)
    names = _descriptions(path) if columns == _FRACTIONS else {}
    found = []
    for name, things in objects.items():
        file = files.get(name) or files.get(os.path.basename(name)) or files.get(os.path.splitext(name)[0])
        shown = os.path.join(folder, name)
        size = sizes.get(name)
        if columns == _FRACTIONS or size is None:
            if file is None:
                log.missing_image(path, shown)
                continue
            size = sizer(file)
            if size is None:
                continue
        if columns == _FRACTIONS:
            things = [_in_pixels(thing, *size, names) for thing in things]
        found.append(ImageAnnotation(image_id_of(file or name), path, file, *size, things, shown))
    return found, sorted({thing.name for annotation in found for thing in annotation.objects})


def _columns(head: list[str], path: str) -> tuple[str, ...]:
    for columns in (_PIXELS, _FRACTIONS):
        if set(columns) <= set(head):
            if len(set(head)) < len(head):
                raise UserError(f"{path}: two columns have the same name: {','.join(head)[:200]}")
            return columns
    raise UserError(
        f"{path}: its first line is {','.join(head)[:120]!r}; it must name the columns {','.join(_PIXELS)} (TensorFlow "
        f"Object Detection) or {','.join(_FRACTIONS)} (OpenImages)"
    )


def _objects(
    rows: Any, head: list[str], columns: tuple[str, ...], path: str
) -> tuple[dict[str, list[ObjectAnnotation]], dict[str, tuple[int, int]]]:
    objects: dict[str, list[ObjectAnnotation]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for row in rows:
        if not row:
            continue
        if len(row) != len(head):
            raise UserError(f"{path}: line {rows.line_num} has {len(row)} cells, the first line has {len(head)}")
        cells = dict(zip(head, map(str.strip, row), strict=True))
        name, label, *corners = (cells[column] for column in columns)
        if not name or os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
            raise UserError(f"{path}: line {rows.line_num} has the image {name!r}; give a name inside the image folder")
        things = objects.setdefault(name, [])
        size = tuple(_number(cells.get(side, "")) for side in ("height", "width"))
        if all(0 < side < 1e6 and side == int(side) for side in size):
            sizes[name] = (int(size[0]), int(size[1]))
        if label or any(corners):
            numbers = tuple(map(_number, corners))
            crowd = cells.get("IsGroupOf") == "1"
            things.append(ObjectAnnotation(label or "(no class)", numbers, crowd=crowd))  # type: ignore[arg-type]
    if not objects:
        raise UserError(f"{path}: has no rows below its first line")
    return objects, sizes


def _in_pixels(thing: ObjectAnnotation, height: int, width: int, names: Mapping[str, str]) -> ObjectAnnotation:
    corners = tuple(value * side for value, side in zip(thing.corners, (width, height) * 2, strict=True))
    return ObjectAnnotation(names.get(thing.name, thing.name), corners, crowd=thing.crowd)  # type: ignore[arg-type]


def _image_folder(path: str, names: list[str]) -> str:
    """The folder near the CSV file with its first images: beside it, `images`, or named like the CSV file."""
    here = os.path.dirname(path) or "."
    stem = os.path.splitext(os.path.basename(path))[0].removesuffix("_labels").removesuffix("-annotations-bbox")
    for parent in (here, os.path.join(here, "..")):
        for below in ("", "images", stem, os.path.join("images", stem), "JPEGImages"):
            folder = os.path.normpath(os.path.join(parent, below))
            for name in names[:3]:
                if any(os.path.isfile(os.path.join(folder, name + suffix)) for suffix in ("", *IMAGE_SUFFIXES)):
                    return folder
    return here


def _files(folder: str) -> dict[str, str]:
    """Paths of the images in a folder by name, with and without suffix."""
    by_stem = images_by_stem(folder)
    return by_stem | {stem + os.path.splitext(file)[1]: file for stem, file in by_stem.items()}


def _descriptions(path: str) -> dict[str, str]:
    for name in _DESCRIPTIONS:
        file = os.path.join(os.path.dirname(path) or ".", name)
        if os.path.isfile(file):
            return {row[0]: row[1] for row in csv.reader(read_lines(file)) if len(row) >= 2}
    return {}


def _number(words: str) -> float:
    try:
        return float(words)
    except ValueError:
        return math.nan
