"""A few images of an evaluation, from the best to the worst, as one picture. Needs Pillow (the `train` extra)."""

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

BUDGET = 100  # proposals an image by which images are ordered
_WIDTH, _GAP, _LETTERS = 400, 12, 15  # pixels of a picture's width, between pictures, of a caption's letters
_PAPER, _INK = (255, 255, 255), (32, 32, 32)


def gallery(
    ground_truth: GroundTruth,
    proposals: Predictions,
    load_image: Callable[[ImageId], np.ndarray | None],
    images: int = 12,
    shown: int = 10,
    columns: int = 4,
) -> "Image":
    """Images at even steps through the order of their recall, the best first and the worst last: nothing is picked.

    Each has its first proposals, coloured by level, and its counted objects: white where one of these proposals
    overlaps it by IoU .5, magenta where none does.

    Args:
        ground_truth, proposals: what was measured.
        load_image: gives uint8 `[H, W, 3]` RGB of an image id, or None where there is no picture.
        images: how many; fewer where fewer have an object and a picture.
        shown: proposals drawn of each.
        columns: pictures beside each other.

    Raises:
        UserError: no image has both, or Pillow is not installed.
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
    """Numbers of images with objects and their AR@100, at even steps through the order of it."""
    found, objects = found_per_image(ground_truth, proposals, BUDGET)
    numbers = np.flatnonzero(objects)
    recall = found[numbers] / objects[numbers]
    order = np.argsort(-recall, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, images).round().astype(int))] if len(order) else order
    return [(int(numbers[place]), float(recall[place])) for place in chosen]


def _tile(
    image: np.ndarray, ground_truth: GroundTruth, proposals: Predictions, number: int, recall: float, shown: int
) -> "Image":
    """One image of the gallery's width, its legend and its caption below it."""
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
