"""Options shared by several commands, and an argparse type for numbers in a range."""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zip_keras.data.annotations import PIXEL_CONVENTIONS
from zip_keras.data.formats.files import read_lines
from zip_keras.errors import UserError
from zip_keras.predictions.formats import SUFFIXES, ReadOptions
from zip_keras.predictions.formats.common import read_image_list
from zip_keras.utils.startup import check_device

if TYPE_CHECKING:
    from zip_keras.evaluation.checks import Policy
    from zip_keras.evaluation.ground_truth import GroundTruth
    from zip_keras.inference.options import InferenceOptions
    from zip_keras.models.detector import Detector

Number = TypeVar("Number", int, float)

PROPOSAL_FILE = f"{', '.join(list(SUFFIXES)[:-1])} or {list(SUFFIXES)[-1]}"
PATH_HELP = "image, folder, .txt list of images, or data set spec such as data/voc07:val"
MODEL_HELP = "run folder, .keras file, exported folder, preset, or an export's .onnx, .xml or .tflite file"


def in_range(
    kind: type[Number], low: float | None = None, high: float | None = None, below: float | None = None
) -> Callable[[str], Number]:
    """Return an argparse type for numbers with `low <= number <= high` and `number < below`.

    >>> in_range(int, low=1)("3")
    3
    """
    bounds = [f"at least {low}"] if low is not None else []
    bounds += [f"at most {high}"] if high is not None else []
    bounds += [f"below {below}"] if below is not None else []

    def parse(text: str) -> Number:
        try:
            number = kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}") from None
        inside = not math.isnan(number) and (low is None or number >= low)
        if not inside or (high is not None and number > high) or (below is not None and number >= below):
            raise argparse.ArgumentTypeError(f"must be {' and '.join(bounds)}, not {text}")
        return number

    return parse


def _device(text: str) -> str:
    try:
        return check_device(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_global_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command, which may stand before or after its name."""
    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "-q",
        "--quiet",
        dest="verbosity",
        action="store_const",
        const=-1,
        default=0,
        help="print only results and errors",
    )
    group.add_argument(
        "-v",
        "--verbose",
        dest="verbosity",
        action="store_const",
        const=1,
        help="also print TensorFlow's messages and error tracebacks",
    )
    group.add_argument(
        "--device",
        type=_device,
        metavar="DEVICE",
        help="cpu, gpu, or gpu:N for GPU number N (default: what TensorFlow finds)",
    )


def add_paths_argument(parser: argparse.ArgumentParser) -> None:
    """Add the input paths of a command, for `inference.inputs.find_images`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help=PATH_HELP)


def add_model_argument(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add `--model`, which is required if there is no default."""
    text = MODEL_HELP + (f" (default: {default})" if default else "")
    parser.add_argument("--model", required=default is None, default=default, metavar="MODEL", help=text)


def add_bad_image_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-bad-image",
        choices=["error", "skip"],
        default="error",
        help="images that are missing or cannot be decoded: list them and stop, or skip and count them "
        "(default: error)",
    )


def add_pixels_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pixels",
        choices=PIXEL_CONVENTIONS,
        default="continuous",
        help="coordinates of VOC annotations and .mat files: box edges, or inclusive pixel numbers from 1, as in the "
        "VOC devkit; a box then spans xmin - 1 to xmax (default: continuous)",
    )


def add_read_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for reading proposal files; see `read_options`."""
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read .pkl files; they may contain only plain data and arrays",
    )
    parser.add_argument("--image-list", metavar="FILE", help="images of a .mat file, one per line, in the same order")
    add_pixels_argument(parser)


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """Build `ReadOptions` from the arguments; raise `UserError` if the image list cannot be read."""
    ids = read_image_list(arguments.image_list) if arguments.image_list else None
    return ReadOptions(arguments.allow_pickle, ids, arguments.pixels)


def add_class_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for seen and unseen classes (paper, Table 5); see `class_split`."""
    group = parser.add_mutually_exclusive_group()
    text = "classes {} in training, or a file of names; adds results for seen, unseen and all classes (Table 5)"
    group.add_argument("--seen", nargs="+", default=[], metavar="CLASS", help=text.format("seen"))
    group.add_argument("--unseen", nargs="+", default=[], metavar="CLASS", help=text.format("not seen"))


def class_split(arguments: argparse.Namespace, ground_truth: "GroundTruth") -> dict[str, tuple[str, ...]]:
    """The class names of `all`, `seen` and `unseen`; empty if no split is requested.

    Raises:
        UserError: a name is no class of the ground truth.
    """
    from zip_keras.evaluation.curves import split_classes

    if not arguments.seen and not arguments.unseen:
        return {}
    return split_classes(ground_truth, _class_names(arguments.seen), _class_names(arguments.unseen))


def _class_names(names: Sequence[str]) -> Sequence[str]:
    """The names, or if the only name is a file, its lines. Names in a file may contain spaces."""
    if len(names) == 1 and Path(names[0]).is_file():
        return [line.strip() for line in read_lines(names[0]) if line.strip()]
    return names


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for invalid boxes and objects; see `bad_box_policy`."""
    group = parser.add_argument_group("invalid input")
    group.add_argument(
        "--on-bad-object", choices=["error", "skip", "clip"], default="error", help="invalid boxes in the ground truth"
    )
    group.add_argument(
        "--on-bad-box",
        choices=["error", "skip"],
        default="error",
        help="boxes with NaN or infinite values, or without width or height",
    )
    group.add_argument(
        "--on-unknown-image", choices=["error", "skip"], default="error", help="images that are not in the ground truth"
    )
    group.add_argument(
        "--on-outside-box",
        choices=["error", "skip", "keep"],
        default="error",
        help="boxes whose centre is outside the image",
    )


def add_category_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for `category_id` in detection files; see `numbered_categories` and `check_categories`."""
    group = parser.add_argument_group("classes of detections")
    group.add_argument(
        "--category-ids",
        choices=["data", "numbers"],
        default="data",
        help="category_id as in the COCO json, or class number + 1, as zip-keras detect writes it; both are equal for "
        "other data and for a json whose ids have no gaps (default: data)",
    )
    group.add_argument(
        "--on-unknown-class",
        choices=["error", "skip"],
        default="error",
        help="category_id that is not in the ground truth (default: error)",
    )


def bad_box_policy(arguments: argparse.Namespace) -> "Policy":
    from zip_keras.evaluation.checks import Policy

    return Policy(arguments.on_bad_box, arguments.on_unknown_image, arguments.on_outside_box)


def add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the inference options; see `inference_options`."""
    positive = in_range(int, low=1)
    group = parser.add_argument_group("prediction (default: as trained)")
    group.add_argument(
        "--max-proposals", type=positive, metavar="N", help="maximum number of boxes that the model returns"
    )
    group.add_argument(
        "--scales",
        type=positive,
        nargs="+",
        metavar="PIXELS",
        help="short side of the image in pixels, one value per scale",
    )
    group.add_argument(
        "--long-side", type=positive, metavar="PIXELS", help="maximum long side of the image at every scale"
    )
    group.add_argument(
        "--multi-scale",
        action="store_true",
        help="use the paper's four scales: 1000, 750, 500, 250 for a model of scale 600",
    )
    group.add_argument("--flip", action="store_true", default=None, help="use flip test-time augmentation")
    group.add_argument(
        "--refinement-steps",
        type=in_range(int, low=0),
        metavar="T",
        help="feed boxes back T times to refine them (needs model.refinement_steps)",
    )
    group.add_argument(
        "--vote",
        type=in_range(float, low=0, below=1),
        metavar="IOU",
        help="box voting among boxes with at least this IoU; 0 = off",
    )
    group.add_argument(
        "--postprocess",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="other fields of the config's postprocess section, for example nms_iou=0.9 'thresholds=[0.95,0.8]'",
    )


def inference_options(arguments: argparse.Namespace) -> "InferenceOptions":
    """Build `InferenceOptions` from the arguments; raise `UserError` for conflicting values."""
    from zip_keras.inference.options import InferenceOptions

    return InferenceOptions(
        max_proposals=arguments.max_proposals,
        short_sides=arguments.scales,
        long_side=arguments.long_side,
        multi_scale=arguments.multi_scale,
        flip=arguments.flip,
        vote_iou=arguments.vote,
        refinement_steps=arguments.refinement_steps,
        postprocess=postprocess_fields(arguments.postprocess) or None,
    )


def postprocess_fields(words: Sequence[str]) -> dict[str, Any]:
    """Parse `NAME=VALUE` words with JSON values into fields of `PostprocessConfig`.

    Raises:
        UserError: a word has another form, or a field is given twice.
    """
    fields: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name in fields:
            raise UserError(f"--postprocess: {name} is given twice; give it once")
        try:
            fields[name] = json.loads(value)
        except ValueError:
            raise UserError(
                f"--postprocess {word}: write NAME=VALUE, where VALUE is a number, a list such as [0.95,0.8], or null"
            ) from None
    return fields


def refuse_options_of_proposers(model: str, options: "InferenceOptions") -> None:
    """Raise `UserError` for options that detectors do not have. Scales, long side and flip are allowed."""
    given = {
        "--max-proposals": options.max_proposals is not None,
        "--multi-scale": options.multi_scale,
        "--vote": options.vote_iou is not None,
        "--refinement-steps": options.refinement_steps is not None,
        "--postprocess": options.postprocess is not None,
    }
    for name, is_given in given.items():
        if is_given:
            raise UserError(f"{name} is for proposers, and {model} is a detector; leave it out")


def load_detector(model: str, options: "InferenceOptions") -> "Detector":
    """Load a detector with the given scales, long side and flip; see `refuse_options_of_proposers` for the others."""
    from zip_keras.inference.detectors import load_keras_detector, with_detection_options

    return with_detection_options(
        load_keras_detector(model), short_sides=options.short_sides, long_side=options.long_side, flip=options.flip
    )
