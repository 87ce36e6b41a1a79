"""The page's content for one image: picture, downloads, status line and legend. Without Gradio."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.analysis.attention.figures import attention_figure
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError
from zip_keras.inference.boxes import Boxes, Detections
from zip_keras.page.images import read_upload, reduced
from zip_keras.page.model import Choice, PageModel
from zip_keras.plots.boxes import draw_boxes, level_entries, rank_colour
from zip_keras.plots.colours import Colour
from zip_keras.plots.detections import draw_detections
from zip_keras.predictions.container import ImagePredictions, Predictions, to_xywh
from zip_keras.predictions.formats import write_predictions

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 1200  # maximum side of a picture in pixels: enough for a screen, and small enough to redraw quickly
MOST_MAPS = 4  # number of strongest and weakest maps per stream
FILES = ("json", "csv", "jpg")
BY_LEVEL, BY_CLASS, BY_RANK = "level", "class", "rank"


@dataclass(frozen=True, eq=False)
class Seen:
    """An image with its predicted boxes.

    Attributes:
        name: file name.
        pixels: uint8 `[H, W, 3]` RGB, upright.
        small: the same, downscaled to sides of at most `LONGEST`.
        factor: scale factor of `small`, at most 1.
        found: all boxes, in pixels of `pixels`.
        seconds: inference time.
    """

    name: str
    pixels: np.ndarray
    small: np.ndarray
    factor: float
    found: Boxes
    seconds: float


def colourings(model: PageModel) -> tuple[str, ...]:
    """The available colour schemes, the default first."""
    return (BY_LEVEL, BY_RANK) if model.class_names is None else (BY_CLASS, BY_LEVEL)


def see(model: PageModel, data: bytes, name: str) -> Seen:
    """Run the network on an image file.

    Raises:
        UserError: the bytes are no image, or the image is broken or too large.
    """
    pixels = read_upload(data, name)
    started = time.perf_counter()
    found = model.look(pixels)
    seconds = time.perf_counter() - started
    return Seen(name, pixels, *reduced(pixels, LONGEST), found, seconds)


def picture(seen: Seen, shown: Boxes, colours: str, scores: bool) -> "Image":
    """Draw the boxes on the image.

    Args:
        seen: the image.
        shown: the selected boxes of `seen.found`.
        colours: one of `colourings`.
        scores: whether to write the score into each proposal's box; detections always show it.
    """
    boxes = shown.boxes * np.float32(seen.factor)
    levels = shown.levels if colours == BY_LEVEL else None
    if isinstance(shown, Detections):
        return draw_detections(seen.small, boxes, shown.scores, shown.classes, shown.class_names, levels)
    return draw_boxes(seen.small, boxes, levels=levels, scores=shown.scores if scores else None)


def predictions(seen: Seen, shown: Boxes) -> ImagePredictions:
    """The selected boxes in the form that `zip-keras propose` and `zip-keras detect` write."""
    image_id = image_id_of(seen.name)
    categories = shown.classes.astype(np.int64) + 1 if isinstance(shown, Detections) else None
    one = Predictions()
    one.add_xywh(image_id, to_xywh(shown.boxes), shown.scores, categories, shown.levels)
    return one[image_id]


def write_files(folder: Path, seen: Seen, shown: Boxes, drawn: "Image") -> list[Path]:
    """Write the downloads, one file of each type in `FILES`, into an existing folder.

    Raises:
        UserError: the folder cannot be written.
    """
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in Path(seen.name).stem)[:60] or "image"
    files = [folder / f"{stem}_boxes.{kind}" for kind in FILES]
    try:
        drawn.save(files[2], quality=90)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    for file in files[:2]:
        write_predictions(str(file), [predictions(seen, shown)])
    return files


def summary(seen: Seen, shown: Boxes, choice: Choice) -> str:
    """A status line with the number of boxes and the image."""
    height, width = seen.pixels.shape[:2]
    if isinstance(shown, Detections):
        boxes = f"{len(shown)} detection{'' if len(shown) == 1 else 's'}"
    else:
        boxes = f"{len(shown)} of {len(seen.found)} proposals"
    least = f", score {choice.score:g} or more" if choice.score > 0 else ""
    return f"{boxes}{least} · {seen.name}, {width} x {height} pixels · network {1000 * seen.seconds:.0f} ms"


def legend(shown: Boxes, colours: str) -> list[tuple[Colour, str]]:
    """The legend of the picture's colours, with box counts for levels and classes."""
    if colours == BY_LEVEL:
        return level_entries(shown.levels)
    if not isinstance(shown, Detections):
        ends = ((0, "the best"), (len(shown) - 1, "the last"))
        return [(rank_colour(rank, len(shown)), text) for rank, text in ends[: len(shown)]]
    names = shown.class_names
    numbers, counts = np.unique(shown.classes, return_counts=True)
    rows = zip(numbers.tolist(), counts.tolist(), strict=True)
    return [(rank_colour(number, len(names)), f"{names[number]}: {count}") for number, count in rows]


def attention_picture(model: PageModel, seen: Seen) -> np.ndarray:
    """Draw the strongest and weakest maps of the image, uint8 `[h, w, 3]`.

    Raises:
        UserError: the model has no map attention.
    """
    if model.attend is None:
        raise UserError(f"{model.name}: has no map attention; choose a model trained with model.merge=mad")
    figure = attention_figure(seen.small, model.attend(seen.pixels), seen.name, MOST_MAPS)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]
