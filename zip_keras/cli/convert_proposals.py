"""`zip-keras convert_proposals`: convert a proposal file to another format."""

import argparse
from collections.abc import Iterable, Iterator

from zip_keras.cli._options import PROPOSAL_FILE, add_read_arguments, read_options
from zip_keras.cli._paths import check_input_file, check_output_file
from zip_keras.predictions.container import ImagePredictions
from zip_keras.predictions.formats import format_of, stream_predictions, write_predictions

DESCRIPTION = """\
Converts a proposal file. The suffixes determine the formats: .json (COCO results), .csv, .npz, .parquet, .pkl
(Detectron2) or .mat (MATLAB aboxes). json, csv and parquet are streamed, so large files need little memory."""
EXAMPLES = """\
  zip-keras convert_proposals proposals.json proposals.parquet
  zip-keras convert_proposals proposals.json proposals.csv
  zip-keras convert_proposals aboxes.mat proposals.json --image-list VOC2007/ImageSets/Main/test.txt
  zip-keras convert_proposals rpn_proposals.pkl proposals.json --allow-pickle
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="FILE", help=PROPOSAL_FILE)
    parser.add_argument("output", metavar="FILE", help="proposal file to write")
    add_read_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    format_of(arguments.output)
    check_input_file("", arguments.input)
    check_output_file("", arguments.output)
    images: set[int | str] = set()
    parts = stream_predictions(arguments.input, read_options(arguments))
    boxes = write_predictions(arguments.output, _counted(parts, images))
    print(f"{arguments.output}: {boxes} boxes of {len(images)} images")


def _counted(parts: Iterable[ImagePredictions], images: set[int | str]) -> Iterator[ImagePredictions]:
    for part in parts:
        images.add(part.image_id)
        yield part
