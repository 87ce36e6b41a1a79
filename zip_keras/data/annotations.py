"""What a reader finds in its files, before anything is checked: the numbers as written."""

from dataclasses import dataclass, field
from typing import Literal

# What an annotation file's numbers count. "continuous": edges, so a box is `xmin .. xmax`. "one_based": pixels from 1,
# the last one included, so a box is `xmin - 1 .. xmax`.
PixelConvention = Literal["continuous", "one_based"]
PIXEL_CONVENTIONS: tuple[PixelConvention, ...] = ("continuous", "one_based")


@dataclass(frozen=True)
class ObjectAnnotation:
    """One object as its file has it.

    Attributes:
        name: class name (or WNID) as written.
        corners: `(xmin, ymin, xmax, ymax)` in the file's own pixel convention; NaN where a number is unreadable.
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
    """One image and its objects as their files have them.

    Attributes:
        image_id: as in `ImageRecord`.
        source: the annotation file, for messages.
        image_file: the image file; None when there is none of that name.
        height, width: pixels as the annotation states them; None when it does not.
        objects: in file order.
        image_name: what the annotation calls the image, for messages when `image_file` is None.
    """

    image_id: int | str
    source: str
    image_file: str | None
    height: int | None
    width: int | None
    objects: list[ObjectAnnotation] = field(default_factory=list)
    image_name: str = ""
