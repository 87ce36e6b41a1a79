"""`zip-keras propose`: write the proposals of images."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._paths import check_output_file, check_output_folder
from zip_keras.cli._resumable import Predict, ResumablePrediction
from zip_keras.errors import UserError
from zip_keras.inference.calibration_images import refuse_calibration_images
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.inference.model_files import find_model, stored_calibration
from zip_keras.plots.selection import SHOWN_COUNT, SHOWN_IOU, SHOWN_SHARE, select_for_display
from zip_keras.predictions.container import ImagePredictions, Predictions
from zip_keras.predictions.formats import check_ids, format_of
from zip_keras.predictions.unfinished import files_of
from zip_keras.presets import DEFAULT_PRESET
from zip_keras.utils.optional import optional_import
from zip_keras.utils.startup import start_tensorflow

DEFAULT_OUTPUT, DEFAULT_PICTURES = "proposals.json", "proposals"  # used without --output

DESCRIPTION = f"""\
Writes the proposals of images, with boxes in pixels of each image. PATH is an image, a folder (with its subfolders), a
.txt list of images, or a data set spec such as data/voc07:val or records:DIR. The suffix of --output determines the
format: .json (COCO results), .csv, .npz, .parquet, .pkl (Detectron2) or .mat. An image's id is its file stem, as an
integer if the stem is numeric.

The output is written when all images are done. Finished images are kept in .NAME.unfinished beside it; the same command
continues from there after an interrupt, an error or a full disk.

The file holds all boxes. A picture shows at most {SHOWN_COUNT} boxes; they overlap each other by at most
IoU {SHOWN_IOU}, and their scores are at least {SHOWN_SHARE} of the best."""
EXAMPLES = """\
  zip-keras propose photo.jpg
  zip-keras propose photos/ --model runs/bccd --output proposals.json --pictures pictures/ --scores
  zip-keras propose photos/ --output boxes.csv --min-score 0.5 --top 20
  zip-keras propose data/voc07:val --model exported/voc07 --output proposals.json --max-proposals 1000
  zip-keras propose data/voc07:val --model runs/voc07 --output proposals.json --multi-scale --flip
  zip-keras propose a.jpg b.png --model best.keras --output proposals.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_paths_argument(parser)
    _options.add_model_argument(parser, DEFAULT_PRESET)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"{_options.PROPOSAL_FILE} (default: {DEFAULT_OUTPUT}, and pictures in {DEFAULT_PICTURES}/)",
    )
    parser.add_argument(
        "--min-score", type=_options.in_range(float), metavar="S", help="leave out boxes with a lower score"
    )
    parser.add_argument(
        "--top", type=_options.in_range(int, low=1), metavar="N", help="keep the N best boxes per image"
    )
    _options.add_bad_image_argument(parser)
    parser.add_argument(
        "--allow-calibration-images",
        action="store_true",
        help="accept images on which the model's level biases were chosen; results on them are too good",
    )
    _options.add_inference_arguments(parser)
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--pictures",
        metavar="DIR",
        help="also draw boxes into DIR/IMAGE_ID.jpg, coloured by level; objects of a data set are white if a drawn box "
        "has IoU .5 with them, else magenta",
    )
    group.add_argument("--scores", action="store_true", help="label each drawn box with its score")
    group.add_argument(
        "--pictures-count",
        type=_options.in_range(int, low=0),
        default=SHOWN_COUNT,
        metavar="N",
        help=f"maximum number of boxes per picture (default: {SHOWN_COUNT})",
    )
    group.add_argument(
        "--pictures-iou",
        type=_options.in_range(float, low=0, high=1),
        default=SHOWN_IOU,
        metavar="IOU",
        help=f"maximum IoU of two drawn boxes; 1 = also draw near-duplicates (default: {SHOWN_IOU})",
    )
    group.add_argument(
        "--pictures-share",
        type=_options.in_range(float, low=0, high=1),
        default=SHOWN_SHARE,
        metavar="SHARE",
        help=f"minimum share of the best score for a drawn box; 0 = any (default: {SHOWN_SHARE})",
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.output is None:
        arguments.output = DEFAULT_OUTPUT
        arguments.pictures = arguments.pictures or _default_pictures()
    format_of(arguments.output)
    check_output_file("--output", arguments.output)
    check_output_folder("--pictures", arguments.pictures)
    if arguments.pictures:
        optional_import("PIL.Image", "--pictures", "train")
    options = _options.inference_options(arguments)
    model = find_model(arguments.model)
    images, left_out = find_images(arguments.paths, arguments.on_bad_image)
    check_ids(arguments.output, (image.image_id for image in images))
    if not arguments.allow_calibration_images:
        refuse_calibration_images(stored_calibration(model), images)

    work = ResumablePrediction(arguments, _made_by(model, options, arguments))

    def prepare() -> Predict:
        start_tensorflow(arguments.device)
        from zip_keras.inference.loading import load_proposer

        propose = load_proposer(model, options=options)

        def predict(image: ImageFile, pixels: np.ndarray) -> ImagePredictions:
            one = Predictions()
            found = propose(pixels)
            one.add(image.image_id, found.boxes, found.scores, found.levels)
            part = _chosen(one[image.image_id], arguments)
            if arguments.pictures:
                work.save_picture(image, _picture(image, pixels, part, arguments))
            return part

        return predict

    work.run(images, prepare, left_out)


def _default_pictures() -> str | None:
    """The default folder of pictures; None if pictures cannot be drawn."""
    try:
        optional_import("PIL.Image", "pictures", "train")
    except UserError as error:
        print(f"no pictures: {error}", file=sys.stderr)
        return None
    return DEFAULT_PICTURES


def _made_by(model: Path, options: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that determines the boxes and the picture of an image."""
    names = ("min_score", "top", "scores", "pictures_count", "pictures_iou", "pictures_share")
    return {
        "model": files_of(model),
        "options": dataclasses.asdict(options),
        **{name: getattr(arguments, name) for name in names},
    }


def _chosen(part: ImagePredictions, arguments: argparse.Namespace) -> ImagePredictions:
    """Apply --min-score and --top."""
    if arguments.min_score is not None:
        part = part.choose(part.scores >= arguments.min_score)
    return part if arguments.top is None else part.choose(np.arange(len(part)) < arguments.top)


def _picture(image: ImageFile, pixels: np.ndarray, part: ImagePredictions, given: argparse.Namespace) -> Any:
    from zip_keras.plots.boxes import draw_boxes

    rows = select_for_display(part.boxes, part.scores, given.pictures_count, given.pictures_iou, given.pictures_share)
    shown = part.choose(rows)
    levels = shown.levels if part.levels.any() else None
    return draw_boxes(pixels, shown.boxes, image.boxes, levels, shown.scores if given.scores else None)
