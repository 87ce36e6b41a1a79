"""Draw detections with class names and scores on an image. Needs Pillow (the `train` extra)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.plots.boxes import letter_height, level_entries, rank_colour, with_legend
from zip_keras.plots.colours import level_colour
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from PIL.Image import Image

LABELLED_SCORE = 0.3  # default minimum score of drawn boxes


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    class_names: Sequence[str],
    levels: np.ndarray | None = None,
) -> "Image":
    """Draw labelled boxes on an image, coloured by class, with better boxes on top.

    With `levels`, boxes are coloured by level, with a legend below the image.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        boxes, scores, classes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, `[n]`, integers `[n]`; best first.
        class_names: indexed by `classes`.
        levels: integers `[n]`, the level of each box, 1 is the finest.

    Raises:
        UserError: Pillow is not installed.
    """
    pictures, draws, fonts = (
        optional_import(f"PIL.{name}", "a picture of boxes", "train") for name in ("Image", "ImageDraw", "ImageFont")
    )
    picture = pictures.fromarray(image)
    draw = draws.Draw(picture)
    line = max(1, round(min(image.shape[:2]) / 200))
    height = letter_height(picture)
    font = fonts.load_default(height)
    colours = [rank_colour(int(number), len(class_names)) for number in classes]
    if levels is not None:
        colours = [level_colour(int(level)) for level in levels]
    for box, score, number, colour in reversed(list(zip(boxes, scores, classes, colours, strict=True))):
        y1, x1, y2, x2 = np.round(np.asarray(box, np.float64)).astype(int).tolist()
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=colour, width=line)
        text = f"{class_names[int(number)]} {score:.2f}"
        top = max(0, y1 - height - 2)
        left = min(x1, max(0, image.shape[1] - round(font.getlength(text)) - 4))
        draw.rectangle((left, top, left + font.getlength(text) + 3, top + height + 2), fill=colour)
        light = sum(weight * part for weight, part in zip((0.3, 0.6, 0.1), colour, strict=True))
        draw.text((left + 2, top + 1), text, (0, 0, 0) if light > 128 else (255, 255, 255), font)
    return picture if levels is None else with_legend(picture, level_entries(levels))
