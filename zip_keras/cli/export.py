"""`zip-keras export`: writes a SavedModel and a `.keras` file."""

import argparse

from zip_keras.cli._options import add_inference_arguments, read_inference_options

DESCRIPTION = """\
Writes --output/VERSION/: a SavedModel in TensorFlow Serving's layout, suppression included, with signatures for uint8
images and for encoded ones, and in assets.extra/proposer.keras the same model for Keras. exported/README.md says how to
load both. The version is the next free integer; the folder appears complete or not at all."""
EXAMPLES = """\
  zip-keras export --model runs/bccd --output exported/bccd
  zip-keras export --model runs/bccd/last.keras --output exported/bccd --max-proposals 1000 --scales 480
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="run folder, .keras file, or an earlier export")
    parser.add_argument("--output", required=True, metavar="exported/NAME", help="folder of the versions")
    parser.add_argument("--version", type=int, metavar="N", help="default: one more than the highest there")
    add_inference_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    from zip_keras.export.saved_model import export_proposer
    from zip_keras.inference.loading import load_keras_proposer

    proposer = read_inference_options(arguments).apply(load_keras_proposer(arguments.model))
    folder = export_proposer(proposer, arguments.output, arguments.version)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    looks = ", ".join(map(str, proposer.short_sides)) + (", each mirrored too" if proposer.flip else "")
    print(
        f"{folder}: {proposer.postprocess_config.output_size} boxes an image, short side {looks}, long side "
        f"{proposer.long_side} ({size:.1f} MB)"
    )
