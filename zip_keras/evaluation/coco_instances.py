"""Objects of a COCO instances JSON file in its own double precision, as pycocotools evaluates them."""

from typing import Any

import numpy as np

from zip_keras.data.formats.coco_json import CocoJson, is_finite, read_coco_json
from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import GroundTruth


def read_instances(file: str, spec: str, skip_bad_objects: bool = False) -> GroundTruth:
    """Read images and annotations; segmentations and image files are ignored.

    Args:
        file: path of the JSON file.
        spec: name of the data in messages and results.
        skip_bad_objects: skip and count invalid annotations instead of raising an error. A box without width or height
            is kept as an object that is always missed, as in pycocotools.

    Raises:
        UserError: the file is missing or broken; the message names the entry.
    """
    content = read_coco_json(file)
    images, annotations = content.images, content.annotations
    ids = tuple(image["id"] for image in images)
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
    names = _category_names(content, good)
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


def _is_good(annotation: dict, file: str, skip: bool) -> bool:
    box, area = annotation.get("bbox"), annotation.get("area", 0)
    category = annotation.get("category_id", 1)
    fault = ""
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite, box)) or min(box[2:]) < 0:
        fault = f"the box {box}; it must be four finite numbers [x, y, width, height], the sides not below 0"
    elif not is_finite(area) or area < 0:
        fault = f"the area {area!r}; it must be a number not below 0"
    elif type(category) is not int:
        fault = f"the category_id {category!r}; it must be an integer"
    if fault and not skip:
        raise UserError(
            f"{file}: annotation {annotation.get('id')} of image {annotation['image_id']!r} has {fault}; fix the file "
            "or measure without it: --on-bad-object=skip"
        )
    return not fault


def _category_names(content: CocoJson, annotations: list[dict]) -> dict[int, str]:
    """`{category id: name}` with distinct names; categories that the file does not list are named by their id."""
    names: dict[int, str] = {}
    for category in content.categories:
        name = str(category.get("name", category["id"]))
        names[category["id"]] = name if name not in names.values() else f"{name} ({category['id']})"
    for annotation in annotations:
        category = annotation.get("category_id", 1)
        names.setdefault(category, str(category))
    return names


def _side(image: dict, name: str) -> float:
    value: Any = image.get(name)
    return float(value) if is_finite(value) and value > 0 else np.nan
