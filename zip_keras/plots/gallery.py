"""Picture of a few images of an evaluation, from best to worst recall. Needs Pillow (the `train` extra)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.errors import UserError
from zip_keras.evaluation.curves import found_per_image
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.plots.boxes import draw_boxes
from zip_keras.predictions.container import ImageId, Predictions, corners
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from PIL.Image import Image

BUDGET = 100  # proposals per image for the recall by which images are ordered
_WIDTH, _GAP, _LETTERS = 400, 12, 15  # in pixels: width of a picture, gap between pictures, font size of captions
_PAPER, _INK = (255, 255, 255), (32, 32, 32)


def gallery(
    ground_truth: GroundTruth,
    proposals: Predictions,
    load_image: Callable[[ImageId], np.ndarray | None],
    images: int = 12,
    shown: int = 10,
    columns: int = 4,
) -> "Image":
    """Draw images taken at even steps of the ranking by recall, best first, so that the choice is not biased.

    Each image shows its first proposals, coloured by level, and its counted objects: white if one of these proposals
    overlaps the object with IoU .5 or more, magenta otherwise.

    Args:
        ground_truth, proposals: the evaluated data.
        load_image: returns uint8 `[H, W, 3]` RGB for an image id, or None if there is no picture.
        images: maximum number of images. Only images with an object and a picture are shown.
        shown: number of proposals drawn per image.
        columns: number of images per row.

    Raises:
        UserError: no image has both an object and a picture, or Pillow is not installed.
    """
    tiles = []
    for number, recall in from_best_to_worst(ground_truth, proposals, images):
        image = load_image(ground_truth.image_ids[number])
        if image is not None:
            tiles.append(_tile(image, ground_truth, proposals, number, recall, shown))
    if not tiles:
        raise UserError("no picture of an image with objects can be read; a gallery needs the images themselves")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    width = _GAP + (_WIDTH + _GAP) * min(columns, len(tiles))
    sheet = optional_import("PIL.Image", "a gallery", "train").new(
        "RGB", (width, sum(heights) + _GAP * (len(rows) + 1)), _PAPER
    )
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (_GAP + column * (_WIDTH + _GAP), top))
        top += height + _GAP
    return sheet


def from_best_to_worst(ground_truth: GroundTruth, proposals: Predictions, images: int) -> list[tuple[int, float]]:
    """Indices and AR@100 of images with objects, at even steps of the ranking by AR@100, best first."""
    found, objects = found_per_image(ground_truth, proposals, BUDGET)
    numbers = np.flatnonzero(objects)
    recall = found[numbers] / objects[numbers]
    order = np.argsort(-recall, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, images).round().astype(int))] if len(order) else order
    return [(int(numbers[place]), float(recall[place])) for place in chosen]


def _tile(
    image: np.ndarray, ground_truth: GroundTruth, proposals: Predictions, number: int, recall: float, shown: int
) -> "Image":
    """One image, scaled to the gallery's width, with legend and caption below."""
    names = ("Image", "ImageDraw", "ImageFont")
    pictures, draws, fonts = (optional_import(f"PIL.{name}", "a gallery", "train") for name in names)
    image_id = ground_truth.image_ids[number]
    scale = _WIDTH / image.shape[1]
    rows = slice(int(ground_truth.starts[number]), int(ground_truth.starts[number + 1]))
    objects = corners(ground_truth.xywh[rows][ground_truth.counted[rows]])
    found = proposals[image_id]
    resized = pictures.fromarray(image).resize((_WIDTH, max(1, round(image.shape[0] * scale))))
    boxes = corners(found.xywh[:shown]) * scale
    drawn = draw_boxes(np.asarray(resized), boxes, objects * scale, found.levels[:shown])
    tile = pictures.new("RGB", (drawn.width, drawn.height + 2 * _LETTERS), _PAPER)
    tile.paste(drawn)
    caption = f"{image_id}: AR@{BUDGET} {recall:.2f} (coco)"
    draws.Draw(tile).text((0, drawn.height + _LETTERS // 2), caption, _INK, fonts.load_default(_LETTERS))
    return tile
