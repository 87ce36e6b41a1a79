"""`zip_keras.draw`: draw proposals or detections on an image."""

from pathlib import Path
from typing import TYPE_CHECKING

from zip_keras.errors import UserError
from zip_keras.inference.boxes import Boxes, Detections
from zip_keras.inference.images import ImageLike, as_rgb
from zip_keras.plots.boxes import draw_boxes
from zip_keras.plots.detections import LABELLED_SCORE, draw_detections
from zip_keras.plots.selection import SHOWN_COUNT, SHOWN_IOU, SHOWN_SHARE, select_for_display

if TYPE_CHECKING:
    from PIL.Image import Image


def draw(
    image: ImageLike,
    found: Boxes | Detections,
    file: str | Path | None = None,
    *,
    count: int = SHOWN_COUNT,
    iou: float = SHOWN_IOU,
    share: float = SHOWN_SHARE,
    scores: bool = False,
    min_score: float = LABELLED_SCORE,
) -> "Image":
    """Draw the best boxes on their image. Needs Pillow.

    Proposals are coloured by level, with a legend below. Detections are coloured by class and labelled with class and
    score.

    Args:
        image: one image, as in `propose`.
        found: the boxes returned by `propose` or `detect`.
        file: output file; the suffix selects the format (`.jpg`, `.png`, ...).
        count: proposals only: maximum number of boxes.
        iou: proposals only: maximum IoU of any two drawn boxes; 1 keeps near-duplicates.
        share: proposals only: minimum score as a fraction of the best score; 0 keeps all.
        scores: proposals only: whether to write the score into each box.
        min_score: detections only: minimum score.

    Returns:
        A Pillow image.

    Raises:
        UserError: the image is invalid, Pillow is missing, or the file cannot be written.

    >>> import zip_keras, numpy as np
    >>> from zip_keras.inference.boxes import Boxes, Detections
    >>> image = np.full((120, 160, 3), 200, np.uint8)
    >>> found = Boxes(np.float32([[10, 20, 90, 140]]), np.float32([0.9]), np.int32([3]))
    >>> picture = zip_keras.draw(image, found)  # zip_keras.draw(image, found, "found.png") saves it too
    >>> picture.width, picture.getpixel((20, 50))
    (160, (60, 200, 60))
    >>> found = Detections(found.boxes, found.scores, found.levels, np.int32([1]), ("cat", "dog"))
    >>> zip_keras.draw(image, found).size  # with "dog 0.90" on the box
    (160, 120)
    """
    pixels = as_rgb(image)
    if isinstance(found, Detections):
        part = found.take(found.scores >= min_score)
        picture = draw_detections(pixels, part.boxes, part.scores, part.classes, part.class_names)
    else:
        shown = found.take(select_for_display(found.boxes, found.scores, count, iou, share))
        picture = draw_boxes(pixels, shown.boxes, levels=shown.levels, scores=shown.scores if scores else None)
    if file is not None:
        try:
            picture.save(file, quality=90)  # for JPEG; other formats ignore it
        except (OSError, ValueError) as error:  # ValueError: unknown suffix
            raise UserError(f"{file}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return picture
