"""`zip-keras export`: writes a SavedModel and a `.keras` file."""

import argparse
from pathlib import Path

from zip_keras.cli import _options
from zip_keras.cli._paths import check_output_folder
from zip_keras.errors import UserError
from zip_keras.inference.model_files import find_model, next_version
from zip_keras.utils.progress import note
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Writes --output/VERSION/: a SavedModel in TensorFlow Serving's layout, NMS included, with signatures for uint8 images
and for encoded ones, and the same model for Keras in assets.extra/proposer.keras. exported/README.md says how to load
both. The version is the next free integer; the folder appears complete or not at all."""
EXAMPLES = """\
  zip-keras export --model runs/bccd --output exported/bccd
  zip-keras export --model runs/bccd/last.keras --output exported/bccd --max-proposals 1000 --scales 480
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model_argument(parser)
    parser.add_argument("--output", required=True, metavar="exported/NAME", help="folder of the versions")
    parser.add_argument(
        "--version", type=_options.in_range(int, low=1), metavar="N", help="default: one more than the highest there"
    )
    _options.add_inference_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    options = _options.inference_options(arguments)
    find_model(arguments.model)
    check_output_folder("--output", arguments.output)
    folder = Path(arguments.output)
    version = next_version(folder) if arguments.version is None else arguments.version
    if (folder / str(version)).exists():
        raise UserError(f"{folder / str(version)}: exists already; leave --version out or name another")
    start_tensorflow(arguments.device)
    from zip_keras.export.saved_model import export_proposer
    from zip_keras.inference.loading import load_keras_proposer

    proposer = options.apply(load_keras_proposer(arguments.model))
    note("building the graphs ...")
    folder = export_proposer(proposer, arguments.output, version)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    scales = ", ".join(map(str, proposer.short_sides)) + (", each flipped too" if proposer.flip else "")
    print(
        f"{folder}: {proposer.postprocess_config.output_size} boxes an image, short side {scales}, long side "
        f"{proposer.long_side} ({size:.1f} MB)"
    )
