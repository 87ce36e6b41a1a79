"""`zip-keras convert_proposals`: turns a proposal file into one of another kind."""

import argparse
from collections.abc import Iterable, Iterator

from zip_keras.data.annotations import PIXEL_CONVENTIONS
from zip_keras.predictions.container import ImagePredictions
from zip_keras.predictions.formats import ReadOptions, format_of, stream_predictions, write_predictions
from zip_keras.predictions.formats.common import read_image_list

DESCRIPTION = """\
Turns a proposal file into another kind, told by the suffixes: .json (COCO results), .npz, .parquet, .pkl (Detectron2)
and .mat (MATLAB aboxes). json and parquet stream, so files of millions of boxes need little memory."""
EXAMPLES = """\
  zip-keras convert_proposals proposals.json proposals.parquet
  zip-keras convert_proposals aboxes.mat proposals.json --image-list VOC2007/ImageSets/Main/test.txt
  zip-keras convert_proposals rpn_proposals.pkl proposals.json --allow-pickle
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="proposal file")
    parser.add_argument("output", help="proposal file to write")
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """What some formats need to be told; `read_options` reads the answers."""
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read .pkl files: plain data and arrays only, anything else in them is an error",
    )
    parser.add_argument("--image-list", metavar="FILE", help="the images of a .mat file, one a line, in its order")
    parser.add_argument(
        "--pixels",
        choices=PIXEL_CONVENTIONS,
        default="continuous",
        help="what the coordinates of VOC annotations and of .mat files count: edges, or pixels from 1 with the last "
        "one included, as the VOC devkit says; then a box is xmin - 1 .. xmax (default: continuous)",
    )


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    ids = read_image_list(arguments.image_list) if arguments.image_list else None
    return ReadOptions(arguments.allow_pickle, ids, arguments.pixels)


def run(arguments: argparse.Namespace) -> None:
    format_of(arguments.output)  # before anything is read
    images: set[int | str] = set()
    parts = stream_predictions(arguments.input, read_options(arguments))
    boxes = write_predictions(arguments.output, _counted(parts, images))
    print(f"{arguments.output}: {boxes} boxes of {len(images)} images")


def _counted(parts: Iterable[ImagePredictions], images: set[int | str]) -> Iterator[ImagePredictions]:
    for part in parts:
        images.add(part.image_id)
        yield part
