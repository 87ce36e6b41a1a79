"""COCO instances JSON: continuous boxes `[x, y, width, height]`, areas and crowd flags; segmentations are not read."""

import math
import os
from collections.abc import Sequence
from typing import Any

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.formats.coco_json import read_coco_json
from zip_keras.errors import UserError


def read_coco(path: str, log: DefectLog, *, image_folder: str | None = None) -> tuple[list[ImageAnnotation], list[str]]:
    """Read an instances file.

    Args:
        path: path of the JSON file.
        log: judges annotations whose image is not listed.
        image_folder: folder of the images; None: search near the JSON file.

    Returns:
        The annotations in the order of `images`, including images without objects, and the category names sorted by
        category id.

    Raises:
        UserError: not a COCO instances file, or an entry lacks a required key; the message names the entry.
    """
    content = read_coco_json(path)
    images = content.images
    names = _category_names(content.categories, path)
    of_image: dict[int | str, list[ObjectAnnotation]] = {image["id"]: [] for image in images}
    for i, entry in enumerate(content.annotations):
        who = f"annotations[{i}] (id {entry.get('id')!r})"
        image_id = entry["image_id"]
        if image_id not in of_image:
            log.box("unknown_image", path, f"{who} has the image_id {image_id!r}, which is not among the images")
            continue
        of_image[image_id].append(_object(entry, names, f"{path}: {who}"))
    file_names = [_file_name(entry, f"{path}: images[{i}]") for i, entry in enumerate(images)]
    folder = image_folder or find_image_folder(path, file_names)
    annotations = []
    for entry, name in zip(images, file_names, strict=True):
        file = os.path.join(folder, name)
        annotations.append(
            ImageAnnotation(
                image_id=entry["id"],
                source=path,
                image_file=file if os.path.isfile(file) else None,
                height=_size(entry, "height", path),
                width=_size(entry, "width", path),
                objects=of_image[entry["id"]],
                image_name=file,
            )
        )
    return annotations, list(names.values())


def find_image_folder(path: str, file_names: Sequence[str]) -> str:
    """The folder near a JSON file with its first images: beside it, `images`, `train2017`, `images/train2017`, ..."""
    here = os.path.dirname(path) or "."
    split = os.path.splitext(os.path.basename(path))[0].split("_")[-1]
    parents = (here, os.path.join(here, ".."), os.path.join(here, "..", ".."))
    below = ("", "images", split, os.path.join("images", split), "JPEGImages")
    for parent in parents:
        for folder in below:
            candidate = os.path.normpath(os.path.join(parent, folder))
            if any(os.path.isfile(os.path.join(candidate, name)) for name in file_names[:3]):
                return candidate
    return here


def _get(entry: dict[str, Any], key: str, kind: type | tuple[type, ...], who: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f'{who} has {"no" if value is None else "a bad"} "{key}"')
    return value


def _category_names(categories: list[dict[str, Any]], path: str) -> dict[int, str]:
    if not categories:
        raise UserError(f'{path}: "categories" is missing or empty; it must list the classes with "id" and "name"')
    names: dict[int, str] = {}
    for i, entry in enumerate(categories):
        number = entry["id"]
        name = _get(entry, "name", str, f"{path}: categories[{i}]")
        if number in names or name in names.values():
            raise UserError(f"{path}: categories[{i}] has the id or name of an earlier category")
        names[number] = name
    return dict(sorted(names.items()))


def _object(entry: dict[str, Any], names: dict[int, str], who: str) -> ObjectAnnotation:
    category = _get(entry, "category_id", int, who)
    box = entry.get("bbox")
    numbers = box if isinstance(box, list) and len(box) == 4 else [None] * 4
    x, y, width, height = (float(n) if isinstance(n, int | float) else math.nan for n in numbers)
    area = entry.get("area")
    return ObjectAnnotation(
        name=names.get(category, f"category {category}"),
        corners=(x, y, x + width, y + height),
        difficult=bool(entry.get("difficult") or entry.get("ignore")),
        crowd=bool(entry.get("iscrowd")),
        area=float(area) if isinstance(area, int | float) and 0 < area < math.inf else None,
    )


def _file_name(entry: dict[str, Any], who: str) -> str:
    name = _get(entry, "file_name", str, who)
    if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/") or "\0" in name:
        raise UserError(f"{who} has the file_name {name!r}, which leads out of the image folder")
    return name


def _size(entry: dict[str, Any], key: str, path: str) -> int | None:
    value = entry.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1_000_000:
        raise UserError(f'{path}: image {entry["id"]!r} has "{key}" {value!r}, expected a number of pixels')
    return value
