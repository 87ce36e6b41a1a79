"""Annotations as readers find them in their files, before any check."""

from dataclasses import dataclass, field
from typing import Literal

# Meaning of coordinates in an annotation file. "continuous": edges, so a box spans `xmin .. xmax`. "one_based":
# inclusive pixel numbers that start at 1, so a box spans `xmin - 1 .. xmax`.
PixelConvention = Literal["continuous", "one_based"]
PIXEL_CONVENTIONS: tuple[PixelConvention, ...] = ("continuous", "one_based")


@dataclass(frozen=True)
class ObjectAnnotation:
    """One object as stated in its file.

    Attributes:
        name: class name (or WNID) as written.
        corners: `(xmin, ymin, xmax, ymax)` in the file's pixel convention; NaN if a number is unreadable.
        difficult: VOC `difficult`.
        crowd: COCO `iscrowd`.
        area: object area in square pixels if the file states one.
    """

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False
    area: float | None = None


@dataclass(frozen=True)
class ImageAnnotation:
    """One image and its objects as stated in the files.

    Attributes:
        image_id: as in `ImageRecord`.
        source: the annotation file, for messages.
        image_file: the image file; None if it does not exist.
        height, width: size in pixels that the annotation states; None if it states none.
        objects: in file order.
        image_name: name of the image in the annotation, for messages when `image_file` is None.
    """

    image_id: int | str
    source: str
    image_file: str | None
    height: int | None
    width: int | None
    objects: list[ObjectAnnotation] = field(default_factory=list)
    image_name: str = ""
