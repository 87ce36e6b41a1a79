"""Draw proposals on an image. Needs Pillow (the `train` extra)."""

import colorsys
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.evaluation.matching import overlaps
from zip_keras.plots.colours import EDGE, FOUND, MISSED, Colour, level_colour
from zip_keras.predictions.container import to_xywh
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from PIL.Image import Image

FOUND_IOU = 0.5  # minimum IoU at which a drawn box finds an object
_LEGEND, _TEXT = (32, 32, 32), (235, 235, 235)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    ground_truth: np.ndarray | None = None,
    levels: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> "Image":
    """Draw proposals and ground truth on an image.

    Proposals are coloured by rank, from red (best) to blue; with `levels`, by level, with a legend below the image.
    Objects are white if a drawn box overlaps them with IoU .5 or more, and magenta otherwise.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        boxes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first; better boxes are drawn on top.
        ground_truth: `[M, 4]`, the same format; drawn on top of the proposals.
        levels: integers `[n]`, the level of each box, 1 is the finest; 0: unknown.
        scores: `[n]`; each is written into its box.

    Returns:
        A Pillow image of the same size; with `levels`, the legend adds to the height.

    Raises:
        UserError: Pillow is not installed.
        ValueError: the number of levels or scores differs from the number of boxes.
    """
    pictures = optional_import("PIL.Image", "a picture of boxes", "train")
    draws = optional_import("PIL.ImageDraw", "a picture of boxes", "train")
    if levels is not None and len(levels) != len(boxes):
        raise ValueError(f"{len(levels)} levels for {len(boxes)} boxes")
    if scores is not None and len(scores) != len(boxes):
        raise ValueError(f"{len(scores)} scores for {len(boxes)} boxes")
    picture = pictures.fromarray(image)
    draw = draws.Draw(picture)
    width = max(1, round(min(image.shape[:2]) / 160))
    for rank in reversed(range(len(boxes))):
        colour = rank_colour(rank, len(boxes)) if levels is None else level_colour(int(levels[rank]))
        _outline(draw, boxes[rank], EDGE, width + 1)
        _outline(draw, boxes[rank], colour, width)
        if scores is not None:
            _label(draw, boxes[rank], f"{float(scores[rank]):.2f}", colour, letter_height(picture))
    objects = np.zeros((0, 4)) if ground_truth is None else np.asarray(ground_truth, np.float64).reshape(-1, 4)
    found = found_by(boxes, objects)
    for box, is_found in zip(objects, found, strict=True):
        _outline(draw, box, EDGE, width + 2)
        _outline(draw, box, FOUND if is_found else MISSED, width)
    if levels is None:
        return picture
    return with_legend(picture, level_entries(levels) + _object_entries(found))


def found_by(boxes: np.ndarray, objects: np.ndarray, iou: float = FOUND_IOU) -> np.ndarray:
    """Whether any box `[n, 4]` overlaps each object `[M, 4]` with at least `iou`: bool `[M]`.

    Unlike the matching of the metrics, one box may find several objects.
    """
    found = overlaps(to_xywh(np.reshape(boxes, (-1, 4))), to_xywh(np.reshape(objects, (-1, 4))))
    return found.max(axis=0, initial=0.0) >= iou


def rank_colour(rank: int, count: int) -> Colour:
    """RGB colour of `rank` (from 0) among `count`: from red over yellow and green to blue."""
    hue = 2 / 3 * rank / max(count - 1, 1)
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 1.0, 1.0))
    return red, green, blue


def letter_height(picture: "Image") -> int:
    """Font size in pixels, relative to the picture's width so that text stays legible when the picture is scaled."""
    return max(11, round(picture.width / 45))


def _outline(draw, box: np.ndarray, colour: Colour, width: int) -> None:
    """Draw a box. Its edges lie between pixels, so the last pixel inside is drawn."""
    y1, x1, y2, x2 = np.round(np.asarray(box, np.float64)).astype(int).tolist()
    draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=colour, width=width)


def _label(draw, box: np.ndarray, text: str, colour: Colour, height: int) -> None:
    """Draw a label on the box's colour in its upper left corner; `height` is the font size in pixels."""
    font = optional_import("PIL.ImageFont", "a picture of scores", "train").load_default(height)
    y, x = (max(0, round(float(edge))) for edge in box[:2])
    left, top, right, bottom = draw.textbbox((x + 2, y + 1), text, font=font)
    draw.rectangle((left - 2, top - 1, right + 1, bottom + 1), fill=colour)
    draw.text((x + 2, y + 1), text, EDGE, font)


def level_entries(levels: np.ndarray) -> list[tuple[Colour, str]]:
    """Legend entries: colour and text of each level in `levels` `[n]`, with the number of boxes."""
    levels = np.asarray(levels)
    return [
        (level_colour(level), f"{f'level {level}' if level else 'level not known'}: {(levels == level).sum()}")
        for level in np.unique(levels).tolist()
    ]


def _object_entries(found: np.ndarray) -> list[tuple[Colour, str]]:
    entries = [(FOUND, f"objects found: {found.sum()}")] if found.any() else []
    return entries if found.all() else [*entries, (MISSED, f"missed: {(~found).sum()}")]


def with_legend(picture: "Image", entries: list[tuple[Colour, str]]) -> "Image":
    """Add a legend below the picture: a dark strip with a swatch and a text for each entry, wrapped into rows."""
    images, draws, fonts = (
        optional_import(f"PIL.{name}", "a legend", "train") for name in ("Image", "ImageDraw", "ImageFont")
    )
    height = letter_height(picture)
    font, gap = fonts.load_default(height), height // 2
    places: list[tuple[int, int]] = []
    x, row = gap, 0
    for _, text in entries:
        width = height + gap + round(font.getlength(text)) + 2 * gap
        if x > gap and x + width > picture.width:
            x, row = gap, row + 1
        places.append((x, row))
        x += width
    line = height + gap
    result = images.new("RGB", (picture.width, picture.height + (line * (row + 1) + gap if entries else 0)), _LEGEND)
    result.paste(picture)
    draw = draws.Draw(result)
    for (x, row), (colour, text) in zip(places, entries, strict=True):
        top = picture.height + gap + line * row
        draw.rectangle((x, top, x + height - 1, top + height - 1), outline=colour, width=max(2, height // 5))
        draw.text((x + height + gap, top + height / 2), text, _TEXT, font, anchor="lm")
    return result
