"""Proposals drawn on their image. Needs Pillow (the `train` extra)."""

import colorsys
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.evaluation.extras import library

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, ground_truth: np.ndarray | None = None) -> "Image":
    """The image with proposals coloured by rank, from red, the best, to blue; objects in white.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        boxes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first; later ones are drawn below earlier ones.
        ground_truth: `[M, 4]` likewise, drawn on top.

    Returns:
        a Pillow image of the same size.

    Raises:
        UserError: Pillow is not installed.
    """
    pictures = library("PIL.Image", "a picture of boxes", "train")
    draws = library("PIL.ImageDraw", "a picture of boxes", "train")
    picture = pictures.fromarray(image)
    draw = draws.Draw(picture)
    width = max(1, round(min(image.shape[:2]) / 200))
    for rank in reversed(range(len(boxes))):
        _outline(draw, boxes[rank], rank_colour(rank, len(boxes)), width)
    for box in () if ground_truth is None else ground_truth:
        _outline(draw, box, BLACK, width + 2)
        _outline(draw, box, WHITE, width)
    return picture


def rank_colour(rank: int, count: int) -> tuple[int, int, int]:
    """RGB of place `rank` (from 0) among `count`: red, yellow, green, blue."""
    hue = 2 / 3 * rank / max(count - 1, 1)
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1.0, 1.0))
    return red, green, blue


def _outline(draw, box: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    """A box's edges lie between pixels; the last pixel inside is drawn."""
    y1, x1, y2, x2 = np.round(np.asarray(box, np.float64)).astype(int).tolist()
    draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=colour, width=width)
