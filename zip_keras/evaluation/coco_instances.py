"""Objects of a COCO instances json with the json's own doubles, as pycocotools measures them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import GroundTruth, refuse_duplicates


def read_instances(file: str, spec: str, skip_bad_objects: bool = False) -> GroundTruth:
    """Reads images and annotations; segmentations and image files are not looked at.

    Args:
        spec: how messages and results name the data.
        skip_bad_objects: leave annotations that are no box out and count them, instead of an error. A box without
            width or height is counted, and missed, as by pycocotools.

    Raises:
        UserError: the file is missing or broken; names the entry.
    """
    content = load_json(file)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise UserError(
            f"{file}: not a COCO instances file: it needs the keys 'images' and 'annotations'; "
            "give proposals with --proposals and ground truth with --ground-truth"
        )
    images = _entries(content, "images", {"id": (int, str)}, file)
    annotations = _entries(content, "annotations", {"image_id": (int, str)}, file)
    ids = tuple(image["id"] for image in images)
    refuse_duplicates(ids, file)
    good = [annotation for annotation in annotations if _is_good(annotation, file, skip_bad_objects)]
    number = {image_id: index for index, image_id in enumerate(ids)}
    for annotation in good:
        if annotation["image_id"] not in number:
            raise UserError(
                f"{file}: annotation {annotation.get('id')} belongs to image {annotation['image_id']!r}, which is not "
                "in 'images'; add the image or remove the annotation"
            )
    image_of = np.array([number[a["image_id"]] for a in good], np.int64)
    good = [good[index] for index in np.argsort(image_of, kind="stable")]
    names = _category_names(content, good, file)
    class_of = {category: index for index, category in enumerate(names)}
    skipped = len(annotations) - len(good)
    return GroundTruth(
        spec=spec,
        class_names=tuple(names.values()),
        category_ids=tuple(names),
        image_ids=ids,
        sizes=np.array([[_side(image, side) for side in ("height", "width")] for image in images]).reshape(-1, 2),
        starts=np.concatenate([[0], np.cumsum(np.bincount(image_of, minlength=len(ids)))]).astype(np.int64),
        xywh=np.array([annotation["bbox"] for annotation in good], np.float64).reshape(-1, 4),
        areas=np.array([a.get("area", a["bbox"][2] * a["bbox"][3]) for a in good], np.float64),
        classes=np.array([class_of[annotation.get("category_id", 1)] for annotation in good], np.int32),
        crowd=np.array([bool(annotation.get("iscrowd")) for annotation in good], bool),
        difficult=np.array([bool(annotation.get("difficult")) for annotation in good], bool),
        skipped={"annotations that are no box": skipped} if skipped else {},
    )


def load_json(file: str) -> Any:
    """The content of a json file.

    Raises:
        UserError: missing, not text, or not json.
    """
    try:
        return json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{file}: not json: {error}") from None


def _entries(content: dict, key: str, needed: dict[str, tuple[type, ...]], file: str) -> list[dict]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise UserError(f"{file}: '{key}' is not a list")
    for position, entry in enumerate(entries):
        for name, types in needed.items():
            if not isinstance(entry, dict) or name not in entry:
                raise UserError(f"{file}: {key}[{position}] has no '{name}'")
            if type(entry[name]) not in types:
                kinds = " or ".join({int: "an integer", str: "a text"}[kind] for kind in types)
                raise UserError(f"{file}: {key}[{position}] has {name} {entry[name]!r}; it must be {kinds}")
    return entries


def _is_good(annotation: dict, file: str, skip: bool) -> bool:
    box, area = annotation.get("bbox"), annotation.get("area", 0)
    category = annotation.get("category_id", 1)
    fault = ""
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)) or min(box[2:]) < 0:
        fault = f"the box {box}; it must be four finite numbers [x, y, width, height], the sides not below 0"
    elif not _is_finite(area) or area < 0:
        fault = f"the area {area!r}; it must be a number not below 0"
    elif type(category) is not int:
        fault = f"the category_id {category!r}; it must be an integer"
    if fault and not skip:
        raise UserError(
            f"{file}: annotation {annotation.get('id')} of image {annotation['image_id']!r} has {fault}; fix the file "
            "or measure without it: --on-bad-object=skip"
        )
    return not fault


def _category_names(content: dict, annotations: list[dict], file: str) -> dict[int, str]:
    """`{category id: name}`, the names distinct; proposals are measured without a list of categories too."""
    names: dict[int, str] = {}
    for category in _entries(content, "categories", {"id": (int,)}, file):
        name = str(category.get("name", category["id"]))
        names[category["id"]] = name if name not in names.values() else f"{name} ({category['id']})"
    for annotation in annotations:
        category = annotation.get("category_id", 1)
        names.setdefault(category, str(category))
    return names


def _side(image: dict, name: str) -> float:
    value: Any = image.get(name)
    return float(value) if _is_finite(value) and value > 0 else np.nan


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
