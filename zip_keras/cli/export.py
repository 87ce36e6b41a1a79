"""`zip-keras export`: write a SavedModel, a `.keras` file and other formats."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zip_keras.cli import _options
from zip_keras.cli._paths import check_output_folder
from zip_keras.errors import UserError
from zip_keras.export.deployment import FOLDER as DEPLOYMENT
from zip_keras.export.deployment import check_name, write_deployment
from zip_keras.export.run_card import run_card
from zip_keras.inference.inputs import ImageFile, find_images
from zip_keras.inference.model_files import is_detector, next_version
from zip_keras.presets import card_of, licence_of
from zip_keras.utils.progress import note
from zip_keras.utils.startup import start_tensorflow

if TYPE_CHECKING:
    from zip_keras.inference.options import InferenceOptions
    from zip_keras.models.detector import Detector
    from zip_keras.models.proposer import Proposer

DESCRIPTION = """\
Writes --output/VERSION/: a SavedModel in TensorFlow Serving's layout, including NMS, with signatures for pixels, image
files and tf.train.Example, and the same model for Keras in assets.extra/proposer.keras (detector.keras for a detector).
--formats adds files for ONNX Runtime, OpenVINO and LiteRT. Every format is run on images of several sizes and compared
with the Keras model. README.md lists the signatures, a request, the differences, and the SHA-256 of the files.
The folder appears only if it is complete and verified."""
EXAMPLES = """\
  zip-keras export --model runs/bccd --output exported/bccd
  zip-keras export --model runs/bccd --output exported/bccd --serving
  zip-keras export --model runs/bccd/last.keras --output exported/bccd --max-proposals 1000 --scales 480
  zip-keras export --model zip_lite --output exported/lite --formats saved_model keras onnx openvino
  zip-keras export --model zip_lite --output exported/phone --formats litert --litert-sizes 416x544
"""
FORMATS = (  # a copy of those in zip_keras.export.formats, which imports TensorFlow
    "saved_model",
    "keras",
    "onnx",
    "onnx_float16",
    "openvino",
    "openvino_bfloat16",
    "openvino_int8",
    "litert",
)
DEFAULT_FORMATS = FORMATS[:2]
CALIBRATION_IMAGES = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model_argument(parser)
    parser.add_argument("--output", required=True, metavar="exported/NAME", help="folder for the versions")
    parser.add_argument(
        "--version",
        type=_options.in_range(int, low=1),
        metavar="N",
        help="version (default: highest existing version + 1)",
    )
    parser.add_argument(
        "--licence", metavar="TEXT", help="licence of the weights, for README.md (default: that of the preset)"
    )
    parser.add_argument(
        "--serving",
        action="store_true",
        help="also write --output/serving/: configuration for TensorFlow Serving, Docker Compose and Kubernetes; an "
        "existing folder is not changed",
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=list(DEFAULT_FORMATS),
        metavar="FORMAT",
        help=f"one or more of {', '.join(FORMATS)} (default: {' '.join(DEFAULT_FORMATS)})",
    )
    parser.add_argument(
        "--litert-sizes",
        nargs="+",
        type=_size,
        default=[],
        metavar="HEIGHTxWIDTH",
        help="image sizes in pixels, one LiteRT file each (default: short side by 4/3 of it, portrait and landscape)",
    )
    parser.add_argument(
        "--calibration-images",
        nargs="+",
        metavar="PATH",
        help=f"for openvino_int8: {_options.PATH_HELP}; the first {CALIBRATION_IMAGES} images are used",
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
        raise UserError(f"{folder / str(version)}: exists already; leave out --version or name another")
    if arguments.serving:
        check_name(folder)
    licence = arguments.licence or licence_of(arguments.model)
    images: list[ImageFile] = []
    if arguments.calibration_images:
        images = find_images(arguments.calibration_images)[0][:CALIBRATION_IMAGES]
    start_tensorflow(arguments.device)
    from zip_keras.export.formats import FormatOptions, check_formats
    from zip_keras.export.saved_model import export_model
    from zip_keras.inference.runner import load_image

    check_formats(arguments.formats)
    model = _options.load_detector(arguments.model, options) if of_detector else _proposer(arguments, options)
    note("building, writing and comparing ...")
    written = export_model(
        model,
        arguments.output,
        version,
        licence,
        arguments.formats,
        FormatOptions(arguments.litert_sizes, [load_image(image) for image in images]),
        card=_card(arguments.model),
        report=lambda comparison: note(f"  {comparison}"),
    )
    size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file()) / 1e6
    print(f"{written}: {_summary(model)} ({size:.1f} MB)")
    if arguments.serving:  # after the export, which may fail
        state = "server configuration" if write_deployment(folder) else "exists already and is not changed"
        print(f"{folder / DEPLOYMENT}: {state}")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH, for example 416x544, not {text}")
    return int(height), int(width)


def _card(model: str) -> str | None:
    try:
        return card_of(model) or run_card(model)
    except UserError as error:
        note(f"no model card: {error}")
        return None


def _proposer(arguments: argparse.Namespace, options: "InferenceOptions") -> "Proposer":
    from zip_keras.inference.loading import load_keras_proposer

    return options.apply(load_keras_proposer(arguments.model))


def _summary(model: "Proposer | Detector") -> str:
    from zip_keras.models.detector import Detector

    if isinstance(model, Detector):
        return f"{model.postprocess_config.max_detections} boxes per image of {', '.join(model.class_names)}"
    scales = ", ".join(map(str, model.short_sides)) + (", each also flipped" if model.flip else "")
    count = model.postprocess_config.output_size
    return f"{count} boxes per image, short side {scales}, long side {model.long_side}"
