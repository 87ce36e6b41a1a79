"""YOLO text labels: lines of `class x_centre y_centre width height`, as fractions of the image size.

Two layouts are read: darknet (`obj.data` names `obj.names` and image lists; labels are beside the images) and
ultralytics (`data.yaml`; labels are in `labels/`, images in `images/`). A polygon (ultralytics segmentation:
`class x1 y1 x2 y2 x3 y3 ...`) is replaced by its bounding box.
"""

import math
import os
from collections.abc import Callable

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.formats.files import IMAGE_SUFFIXES, images_by_stem, read_lines
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_yaml

Sizer = Callable[[str], tuple[int, int] | None]


def read_yolo(
    folder: str, split: str, log: DefectLog, sizer: Sizer, *, image_folder: str | None = None
) -> tuple[list[ImageAnnotation], list[str]]:
    """Read one split.

    Args:
        folder: folder with `obj.data` (any `*.data`) or `data.yaml` (any `*.yaml` or `*.yml`).
        split: "train", "val" or "test"; "all" if there is only one split.
        log: judges missing images and broken label files.
        sizer: image file -> (height, width), or None to skip the image; YOLO files do not state sizes.
        image_folder: folder of the images, if it differs from the layout.

    Returns:
        The annotations in the order of the list or of the file names, and the class names in index order.

    Raises:
        UserError: unknown layout or split, or a label file is broken and the policy is `error`.
    """
    data_files = sorted(n for n in os.listdir(folder) if n.endswith(".data")) if os.path.isdir(folder) else []
    yaml_files = sorted(n for n in os.listdir(folder) if n.endswith((".yaml", ".yml"))) if os.path.isdir(folder) else []
    if data_files:
        names, pairs = _darknet(folder, os.path.join(folder, data_files[0]), split, image_folder)
    elif yaml_files:
        names, pairs = _ultralytics(folder, os.path.join(folder, yaml_files[0]), split, image_folder)
    else:
        raise UserError(f"{folder}: neither obj.data (darknet) nor data.yaml (ultralytics) is there")
    found = []
    for image_name, image_file, label_file in pairs:
        if image_file is None:
            log.missing_image(label_file, image_name)
            continue
        size = sizer(image_file)
        if size is None:
            continue
        try:
            objects = _read_labels(label_file, names, *size)
        except UserError as error:
            log.image("broken_annotation", label_file, str(error).removeprefix(f"{label_file}: "))
            continue
        found.append(ImageAnnotation(image_id_of(image_name), label_file, image_file, *size, objects, image_name))
    return found, names


def _darknet(
    folder: str, data_file: str, split: str, image_folder: str | None
) -> tuple[list[str], list[tuple[str, str | None, str]]]:
    entries = dict(_key_value(line) for line in read_lines(data_file) if "=" in line)
    lists = {key: value for key, value in entries.items() if key in ("train", "valid", "val", "test")}
    wanted = _pick(split, lists, data_file)
    names_file = _inside(folder, entries.get("names", "obj.names"))
    names = [line.strip() for line in read_lines(names_file) if line.strip()]
    by_stem = images_by_stem(image_folder) if image_folder else {}
    pairs: list[tuple[str, str | None, str]] = []
    for line in read_lines(_inside(folder, lists[wanted])):
        if name := line.strip():
            path = _inside(folder, name)
            image = by_stem.get(os.path.splitext(os.path.basename(name))[0]) if image_folder else path
            pairs.append((name, image if image and os.path.isfile(image) else None, os.path.splitext(path)[0] + ".txt"))
    return names, pairs


def _ultralytics(
    folder: str, yaml_file: str, split: str, image_folder: str | None
) -> tuple[list[str], list[tuple[str, str | None, str]]]:
    content = _load_yaml(yaml_file)
    splits = {key: value for key in ("train", "val", "test") if isinstance(value := content.get(key), str)}
    names = _yaml_names(content.get("names"), yaml_file)
    wanted = splits[_pick(split, splits, yaml_file)]
    root = folder
    base = content.get("path")
    if isinstance(base, str) and not os.path.exists(os.path.join(folder, wanted)):
        root = os.path.join(folder, base)
    place = os.path.join(root, wanted)
    if place.endswith(".txt"):
        images = [os.path.normpath(os.path.join(root, line.strip())) for line in read_lines(place) if line.strip()]
    else:
        images = list(images_by_stem(image_folder or place).values())
    pairs: list[tuple[str, str | None, str]] = []
    for image in images:
        shown = image
        if image_folder:
            shown = os.path.join(place, os.path.relpath(image, image_folder))
        head, found, tail = shown.rpartition(f"{os.sep}images{os.sep}")
        label = f"{head}{os.sep}labels{os.sep}{tail}" if found else shown
        pairs.append((image, image if os.path.isfile(image) else None, os.path.splitext(label)[0] + ".txt"))
    return names, pairs


def _read_labels(path: str, names: list[str], height: int, width: int) -> list[ObjectAnnotation]:
    """The objects of one label file; a missing (ultralytics) or empty file means no objects."""
    if not os.path.exists(path):
        return []
    objects = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        try:
            index, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise UserError(f"{path}: line {number} is not a class number and numbers") from None
        if not all(map(math.isfinite, values)):
            x1 = y1 = x2 = y2 = math.nan  # the policy judges it as an unreadable box
        elif len(values) == 4:
            x, y, w, h = values
            x1, y1, x2, y2 = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        elif len(values) >= 6 and len(values) % 2 == 0:
            x1, y1, x2, y2 = min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])
        else:
            raise UserError(f"{path}: line {number} has {len(values)} numbers after the class, expected 4 or a polygon")
        name = names[index] if 0 <= index < len(names) else f"number {index}"
        corners = tuple(_grid(v, size) for v, size in ((x1, width), (y1, height), (x2, width), (y2, height)))
        objects.append(ObjectAnnotation(name, corners))  # type: ignore[arg-type]
    return objects


def _grid(fraction: float, size: int) -> float:
    """A fraction of the size in pixels, rounded to a whole pixel if six-digit rounding of the file explains it."""
    position = fraction * size
    if not math.isfinite(position):
        return math.nan
    return float(round(position)) if abs(position - round(position)) <= 2e-6 * size else position


def _pick(split: str, splits: dict[str, str], file: str) -> str:
    aliases = {"val": ("val", "valid"), "valid": ("valid", "val")}
    for name in aliases.get(split, (split,)):
        if name in splits:
            return name
    if split == "all" and len(splits) == 1:
        return next(iter(splits))
    there = ", ".join(splits) or "none"
    raise UserError(f"{file}: no split {split!r}; there are: {there}; write yolo:DIR:SPLIT")


def _key_value(line: str) -> tuple[str, str]:
    key, _, value = line.partition("=")
    return key.strip(), value.strip()


def _inside(folder: str, name: str) -> str:
    """A path in a darknet file, resolved in the folder; its first part (often `data/`) may be the folder itself."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if os.path.isabs(name) or ".." in parts:
        raise UserError(f"{folder}: the path {name!r} leads out of the folder; make it relative to the folder")
    path = os.path.join(folder, *parts)
    shorter = os.path.join(folder, *parts[1:])
    known = os.path.dirname(shorter) if name.lower().endswith(IMAGE_SUFFIXES) else shorter
    return shorter if len(parts) > 1 and not os.path.exists(path) and os.path.exists(known) else path


def _load_yaml(path: str) -> dict[str, object]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must have the keys train, val and names")
    return content


def _yaml_names(names: object, path: str) -> list[str]:
    if isinstance(names, dict) and all(type(key) is int for key in names) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if (
        not isinstance(names, list)
        or not names
        or any(name is None or isinstance(name, dict | list | set) for name in names)
    ):
        raise UserError(f"{path}: names must be a list, or a mapping from 0, 1, 2, ... to class names")
    return [str(name) for name in names]
