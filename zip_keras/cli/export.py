"""`zip-keras export`: writes a SavedModel and a `.keras` file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zip_keras.cli import _options
from zip_keras.cli._paths import check_output_folder
from zip_keras.errors import UserError
from zip_keras.export.deployment import FOLDER as DEPLOYMENT
from zip_keras.export.deployment import check_name, write_deployment
from zip_keras.inference.model_files import is_detector, next_version
from zip_keras.presets import card_of, licence_of
from zip_keras.utils.progress import note
from zip_keras.utils.startup import start_tensorflow

if TYPE_CHECKING:
    from zip_keras.inference.options import InferenceOptions

DESCRIPTION = """\
Writes --output/VERSION/: a SavedModel in TensorFlow Serving's layout, NMS included, with signatures for pixels, image
files and tf.train.Example, and the same model for Keras in assets.extra/proposer.keras (detector.keras for a detector).
Its README.md lists the signatures, a request, and the SHA-256 of the files. The version is the next free integer; the
folder appears complete or not at all."""
EXAMPLES = """\
  zip-keras export --model runs/bccd --output exported/bccd
  zip-keras export --model runs/bccd --output exported/bccd --serving
  zip-keras export --model runs/bccd/last.keras --output exported/bccd --max-proposals 1000 --scales 480
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model_argument(parser)
    parser.add_argument("--output", required=True, metavar="exported/NAME", help="folder of the versions")
    parser.add_argument(
        "--version", type=_options.in_range(int, low=1), metavar="N", help="default: one more than the highest there"
    )
    parser.add_argument(
        "--licence", metavar="TEXT", help="of the weights, for the export's README.md (default: a preset's own)"
    )
    parser.add_argument(
        "--serving",
        action="store_true",
        help="also write --output/serving/: configuration for TensorFlow Serving, Docker Compose and Kubernetes; a "
        "folder that is there stays as it is",
    )
    _options.add_inference_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    options = _options.inference_options(arguments)
    if of_detector := is_detector(arguments.model):
        _options.refuse_options_of_proposers(arguments.model, options)
    check_output_folder("--output", arguments.output)
    folder = Path(arguments.output)
    version = next_version(folder) if arguments.version is None else arguments.version
    if (folder / str(version)).exists():
        raise UserError(f"{folder / str(version)}: exists already; leave --version out or name another")
    if arguments.serving:
        check_name(folder)
    licence = arguments.licence or licence_of(arguments.model)
    start_tensorflow(arguments.device)
    export = _export_detector if of_detector else _export_proposer
    export(arguments, options, version, licence)
    if arguments.serving:  # after the version, whose export may be refused
        state = "configuration of the server" if write_deployment(folder) else "is there and stays as it is"
        print(f"{folder / DEPLOYMENT}: {state}")


def _export_proposer(
    arguments: argparse.Namespace, options: "InferenceOptions", version: int, licence: str | None
) -> None:
    from zip_keras.export.saved_model import export_model
    from zip_keras.inference.loading import load_keras_proposer

    proposer = options.apply(load_keras_proposer(arguments.model))
    note("building the graphs ...")
    folder = export_model(proposer, arguments.output, version, licence, card_of(arguments.model))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    scales = ", ".join(map(str, proposer.short_sides)) + (", each flipped too" if proposer.flip else "")
    print(
        f"{folder}: {proposer.postprocess_config.output_size} boxes an image, short side {scales}, long side "
        f"{proposer.long_side} ({size:.1f} MB)"
    )


def _export_detector(
    arguments: argparse.Namespace, options: "InferenceOptions", version: int, licence: str | None
) -> None:
    from zip_keras.export.saved_model import export_model
    from zip_keras.inference.detectors import load_keras_detector, with_detection_options

    detector = with_detection_options(
        load_keras_detector(arguments.model),
        short_sides=options.short_sides,
        long_side=options.long_side,
        flip=options.flip,
    )
    note("building the graphs ...")
    folder = export_model(detector, arguments.output, version, licence, card_of(arguments.model))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    names = ", ".join(detector.class_names)
    print(f"{folder}: {detector.postprocess_config.max_detections} boxes an image of {names} ({size:.1f} MB)")
