"""Validation of annotations: from `ImageAnnotation` to `ImageRecord`."""

import math
from collections.abc import Mapping

import numpy as np

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation, PixelConvention
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.records import ImageRecord

# Pixels by which a box may exceed the image without being a defect, because formats round (YOLO to 6 digits, COCO to
# 0.01 pixels). Such a box is clipped.
ROUNDING = 0.5


def to_record(
    annotation: ImageAnnotation, class_index: Mapping[str, int], pixels: PixelConvention, log: DefectLog
) -> ImageRecord | None:
    """Check the annotation of one image and return its record.

    Args:
        annotation: from a reader, with `height` and `width`.
        class_index: class name -> index.
        pixels: meaning of the coordinates, see `open_dataset`.
        log: judges each defect.

    Returns:
        The record, or None if the image is skipped because its file is missing.

    Raises:
        UserError: on the first defect when the log's policy is `error`.
    """
    if annotation.image_file is None:
        log.missing_image(annotation.source, annotation.image_name or "(unnamed)")
        return None
    assert annotation.height is not None, "readers state the size or look it up in the image"
    assert annotation.width is not None
    kept: list[tuple[ObjectAnnotation, tuple[float, float, float, float]]] = []
    seen: set[tuple[str, tuple[float, ...], bool]] = set()
    for position, thing in enumerate(annotation.objects, start=1):
        box = _checked_box(annotation, position, thing, pixels, log)
        if box is None:
            continue
        if thing.name not in class_index:
            known = ", ".join(list(class_index)[:8]) + (", ..." if len(class_index) > 8 else "")
            detail = f'object {position} has the unknown class "{thing.name}" (known: {known})'
            log.box("unknown_class", annotation.source, detail)
            continue
        if (thing.name, box, thing.crowd) in seen:
            detail = f'object {position} ("{thing.name}") is a duplicate of an earlier object'
            log.box("duplicate_box", annotation.source, detail)
            continue
        seen.add((thing.name, box, thing.crowd))
        kept.append((thing, box))
    boxes = np.array([box for _, box in kept], np.float32).reshape(-1, 4)
    box_area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return ImageRecord(
        image_id=annotation.image_id,
        file=annotation.image_file,
        height=annotation.height,
        width=annotation.width,
        boxes=boxes,
        classes=np.array([class_index[thing.name] for thing, _ in kept], np.int32),
        difficult=np.array([thing.difficult for thing, _ in kept], bool),
        crowd=np.array([thing.crowd for thing, _ in kept], bool),
        area=np.array(
            [size if thing.area is None else thing.area for (thing, _), size in zip(kept, box_area, strict=True)],
            np.float32,
        ),
    )


def _checked_box(
    annotation: ImageAnnotation, position: int, thing: ObjectAnnotation, pixels: PixelConvention, log: DefectLog
) -> tuple[float, float, float, float] | None:
    """The object's `(y1, x1, y2, x2)` in continuous pixels inside the image, or None if it is skipped."""
    who = f'object {position} ("{thing.name}")'
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite and counts as unreadable
        xmin, ymin, xmax, ymax = corners = np.asarray(thing.corners, np.float64).astype(np.float32).tolist()
    if not all(map(math.isfinite, corners)):
        log.box("unreadable_box", annotation.source, f"{who} has a coordinate that is missing or not a number")
        return None
    # Compare the numbers as written: a one-based box with xmax = xmin is most likely an accidental click.
    for low, high, axis in ((xmin, xmax, "x"), (ymin, ymax, "y")):
        if high < low:
            log.box("negative_size", annotation.source, f"{who} has {axis}max {high:g} < {axis}min {low:g}")
            return None
        if high == low:
            log.box("zero_size", annotation.source, f"{who} has {axis}max {high:g} <= {axis}min {low:g}")
            return None
    shift = 1.0 if pixels == "one_based" else 0.0
    y1, x1, y2, x2 = ymin - shift, xmin - shift, ymax, xmax
    height, width = float(annotation.height or 0), float(annotation.width or 0)
    inside = (max(y1, 0.0), max(x1, 0.0), min(y2, height), min(x2, width))
    excess = max(abs(a - b) for a, b in zip((y1, x1, y2, x2), inside, strict=True))
    empty = inside[0] >= inside[2] or inside[1] >= inside[3]
    if excess > ROUNDING or empty:
        box = f"[{xmin:g} {ymin:g} {xmax:g} {ymax:g}]"
        detail = f"{who} with xmin ymin xmax ymax {box} reaches outside the image of {width:g} x {height:g} pixels"
        if empty:
            detail += " entirely"
        action = log.box("outside_image", annotation.source, detail)
        if action == "skipped" or empty:
            return None
    return inside
