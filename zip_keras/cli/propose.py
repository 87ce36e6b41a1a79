"""`zip-keras propose`: writes the proposals of images."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from zip_keras.cli._images import ImageReader
from zip_keras.cli._options import add_inference_arguments, read_inference_options
from zip_keras.errors import UserError
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import check_ids, format_of, write_predictions
from zip_keras.presets import DEFAULT_PRESET
from zip_keras.utils.optional import optional_import

DEFAULT_OUTPUT, DEFAULT_PICTURES = "proposals.json", "proposals"  # of the shortest command

DESCRIPTION = """\
Writes the proposals of images, boxes in their own pixels. PATH is an image, a folder (with its subfolders), a .txt list
of images, or a data set spec such as data/voc07:val or records:DIR. The kind of file goes by the suffix of --output:
.json (COCO results), .npz, .parquet, .pkl (Detectron2) or .mat. An image's id is the integer of a numeric file stem,
else the stem. The file appears complete at the end, or not at all. Progress is a bar with tqdm, lines without."""
EXAMPLES = """\
  zip-keras propose photo.jpg
  zip-keras propose photos/ --model runs/bccd --output proposals.json --pictures pictures/
  zip-keras propose data/voc07:val --model exported/voc07 --output proposals.json --max-proposals 1000
  zip-keras propose data/voc07:val --model runs/voc07 --output proposals.json --multi-scale --flip
  zip-keras propose a.jpg b.png --model best.keras --output proposals.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image, folder, .txt list of images or data set spec")
    parser.add_argument(
        "--model",
        default=DEFAULT_PRESET,
        help=f"run folder, .keras file, SavedModel folder or preset (default {DEFAULT_PRESET})",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f".json, .npz, .parquet, .pkl or .mat; without it {DEFAULT_OUTPUT}, and pictures in {DEFAULT_PICTURES}/",
    )
    parser.add_argument("--on-bad-image", choices=["error", "skip"], default="error", help="missing or undecodable")
    parser.add_argument(
        "--allow-calibration-images",
        action="store_true",
        help="also images on which the model's level biases were chosen; a measure on them is too good",
    )
    add_inference_arguments(parser)
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--pictures",
        metavar="DIR",
        help="also draw each image's best boxes into DIR/IMAGE_ID.jpg, coloured by "
        "level; a data set's objects white where one of them has IoU .5, else magenta",
    )
    group.add_argument("--pictures-count", type=int, default=10, metavar="N", help="boxes drawn (default 10)")


def run(arguments: argparse.Namespace) -> None:
    if arguments.output is None:
        arguments.output = DEFAULT_OUTPUT
        arguments.pictures = arguments.pictures or _default_pictures()
    if arguments.pictures_count < 0:
        raise UserError(f"--pictures-count is {arguments.pictures_count}; it must be 0 or more")
    format_of(arguments.output)  # before minutes of work
    if arguments.pictures:
        optional_import("PIL.Image", "--pictures", "train")
    images, passed_over = find_images(arguments.paths, arguments.on_bad_image)
    check_ids(arguments.output, (image.image_id for image in images))
    from zip_keras.inference.loading import load_proposer  # TensorFlow, after the quick errors

    options = read_inference_options(arguments)
    if not arguments.allow_calibration_images:
        _refuse_calibration_images(arguments.model, images)
    work = _Work(load_proposer(arguments.model, options=options), arguments)
    started = time.perf_counter()
    boxes = write_predictions(arguments.output, work.over(images))
    seconds = time.perf_counter() - started
    done = work.reader.done
    print(f"{arguments.output}: {boxes} boxes of {done} images, {seconds / max(done, 1):.3f} s an image")
    for kind, count in passed_over.items():
        print(f"  passed over: {kind}: {count}")
    if work.reader.skipped:
        print(f"  skipped, cannot be read: {work.reader.skipped}")
    if arguments.pictures:
        print(f"  pictures: {arguments.pictures}")


def _default_pictures() -> str | None:
    """Where pictures go that were not asked for by name; None where they cannot be drawn."""
    try:
        optional_import("PIL.Image", "pictures", "train")
    except UserError as error:
        print(f"no pictures: {error}", file=sys.stderr)
        return None
    return DEFAULT_PICTURES


def _refuse_calibration_images(model: str, images: Sequence[ImageFile]) -> None:
    from zip_keras.inference.calibration import refuse_calibration_images
    from zip_keras.inference.loading import stored_calibration

    refuse_calibration_images(stored_calibration(model), images)


class _Work:
    """Proposes image by image.

    Attributes:
        reader: counts the images.
    """

    def __init__(self, propose, arguments: argparse.Namespace):
        self.propose, self.reader = propose, ImageReader(arguments.on_bad_image == "skip")
        self.folder = Path(arguments.pictures) if arguments.pictures else None
        self.drawn = arguments.pictures_count

    def over(self, images: Sequence[ImageFile]) -> Iterator[ImagePredictions]:
        """The proposals of each image that can be read.

        Raises:
            UserError: an image cannot be read and is not to be skipped, or none can.
        """
        for image, pixels in self.reader.over(images):
            result = self.propose(pixels)
            if self.folder is not None:
                self._draw(self.folder, image, pixels, result["boxes"], result.get("levels"))
            one = Predictions()
            one.add(image.image_id, result["boxes"], result["scores"], result.get("levels"))
            yield one[image.image_id]

    def _draw(
        self, folder: Path, image: ImageFile, pixels: np.ndarray, boxes: np.ndarray, levels: np.ndarray | None
    ) -> None:
        from zip_keras.plots.boxes import draw_boxes

        file = folder / f"{str(image.image_id).replace('/', '_')}.jpg"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shown = None if levels is None else levels[: self.drawn]
            draw_boxes(pixels, boxes[: self.drawn], image.boxes, shown).save(file, quality=90)
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
