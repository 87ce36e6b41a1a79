"""Options that several commands share, and the argparse type that checks a number's range."""

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
    """An argparse type: a number with `low <= number <= high` and `number < below`.

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
    """Options of every command, before or after its name."""
    group = parser.add_argument_group("every command")
    group.add_argument(
        "-q",
        "--quiet",
        dest="verbosity",
        action="store_const",
        const=-1,
        default=0,
        help="write results, errors and nothing else",
    )
    group.add_argument(
        "-v",
        "--verbose",
        dest="verbosity",
        action="store_const",
        const=1,
        help="also show TensorFlow's own messages, and the traceback of an error",
    )
    group.add_argument(
        "--device",
        type=_device,
        metavar="DEVICE",
        help="cpu, gpu, or gpu:N for the GPU of that number (default: what TensorFlow finds)",
    )


def add_paths_argument(parser: argparse.ArgumentParser) -> None:
    """The images of a command, for `inference.inputs.find_images`."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help=PATH_HELP)


def add_model_argument(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """`--model`; required without a default."""
    text = MODEL_HELP + (f" (default: {default})" if default else "")
    parser.add_argument("--model", required=default is None, default=default, metavar="MODEL", help=text)


def add_bad_image_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--on-bad-image",
        choices=["error", "skip"],
        default="error",
        help="images that are missing or cannot be decoded: name them and stop, or count them and leave them out "
        "(default: error)",
    )


def add_pixels_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pixels",
        choices=PIXEL_CONVENTIONS,
        default="continuous",
        help="coordinates of VOC annotations and .mat files: edges of boxes, or pixels from 1 with the last one "
        "included, as in the VOC devkit; the box is then xmin - 1 .. xmax (default: continuous)",
    )


def add_read_arguments(parser: argparse.ArgumentParser) -> None:
    """What the readers of some proposal files need to know; see `read_options`."""
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        help="read .pkl files: plain data and arrays only, anything else in them is an error",
    )
    parser.add_argument("--image-list", metavar="FILE", help="the images of a .mat file, one a line, in its order")
    add_pixels_argument(parser)


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """Raises `UserError` if the list of images cannot be read."""
    ids = read_image_list(arguments.image_list) if arguments.image_list else None
    return ReadOptions(arguments.allow_pickle, ids, arguments.pixels)


def add_class_split_arguments(parser: argparse.ArgumentParser) -> None:
    """The classes of Table 5; see `class_split`."""
    group = parser.add_mutually_exclusive_group()
    text = "classes {} in training, or one file of names: also numbers of seen, unseen and all classes (Table 5)"
    group.add_argument("--seen", nargs="+", default=[], metavar="CLASS", help=text.format("seen"))
    group.add_argument("--unseen", nargs="+", default=[], metavar="CLASS", help=text.format("not seen"))


def class_split(arguments: argparse.Namespace, ground_truth: "GroundTruth") -> dict[str, tuple[str, ...]]:
    """The class names of `all`, `seen` and `unseen`; empty where no split is asked for.

    Raises:
        UserError: a name is no class of the ground truth.
    """
    from zip_keras.evaluation.curves import split_classes

    if not arguments.seen and not arguments.unseen:
        return {}
    return split_classes(ground_truth, _class_names(arguments.seen), _class_names(arguments.unseen))


def _class_names(names: Sequence[str]) -> Sequence[str]:
    """Names, or those of the file that is named alone, one a line: a name may hold spaces."""
    if len(names) == 1 and Path(names[0]).is_file():
        return [line.strip() for line in read_lines(names[0]) if line.strip()]
    return names


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """What happens to boxes that cannot be right; see `bad_box_policy`."""
    group = parser.add_argument_group("bad input")
    group.add_argument(
        "--on-bad-object", choices=["error", "skip", "clip"], default="error", help="ground truth that is no box"
    )
    group.add_argument(
        "--on-bad-box", choices=["error", "skip"], default="error", help="NaN, infinite, or no width or height"
    )
    group.add_argument(
        "--on-unknown-image", choices=["error", "skip"], default="error", help="image that the ground truth lacks"
    )
    group.add_argument(
        "--on-outside-box", choices=["error", "skip", "keep"], default="error", help="centre outside the image"
    )


def add_category_arguments(parser: argparse.ArgumentParser) -> None:
    """What `category_id` means in a file of detections; see `numbered` and `checks.check_categories`."""
    group = parser.add_argument_group("classes of detections")
    group.add_argument(
        "--category-ids",
        choices=["data", "numbers"],
        default="data",
        help="category_id is that of the COCO json, or 1 + the number of the class, as zip-keras detect writes it; the "
        "same for other data, and for a json whose ids have no gap (default: data)",
    )
    group.add_argument(
        "--on-unknown-class",
        choices=["error", "skip"],
        default="error",
        help="category_id that the ground truth lacks (default: error)",
    )


def bad_box_policy(arguments: argparse.Namespace) -> "Policy":
    from zip_keras.evaluation.checks import Policy

    return Policy(arguments.on_bad_box, arguments.on_unknown_image, arguments.on_outside_box)


def add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    """Changes to a model's prediction; see `inference_options`."""
    positive = in_range(int, low=1)
    group = parser.add_argument_group("prediction (default: as trained)")
    group.add_argument("--max-proposals", type=positive, metavar="N", help="length of the model's list of boxes")
    group.add_argument(
        "--scales",
        type=positive,
        nargs="+",
        metavar="PIXELS",
        help="scale or scales of the image: pixels of its short side",
    )
    group.add_argument("--long-side", type=positive, metavar="PIXELS", help="cap of the longer side at every scale")
    group.add_argument(
        "--multi-scale",
        action="store_true",
        help="the paper's four scales: 1000, 750, 500, 250 for a model of scale 600",
    )
    group.add_argument("--flip", action="store_true", default=None, help="flip test-time augmentation")
    group.add_argument(
        "--refinement-steps",
        type=in_range(int, low=0),
        metavar="T",
        help="feed boxes back and refine them T times (needs model.refinement_steps)",
    )
    group.add_argument(
        "--vote",
        type=in_range(float, low=0, below=1),
        metavar="IOU",
        help="box voting among boxes that overlap so much; 0 = off",
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
    """Raises `UserError` for values that exclude each other."""
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
    """Fields of `PostprocessConfig` by name from `NAME=VALUE`, the value as in JSON.

    Raises:
        UserError: another form, or a field twice.
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
                f"--postprocess {word}: write NAME=VALUE, the value a number, a list such as [0.95,0.8], or null"
            ) from None
    return fields


def refuse_options_of_proposers(model: str, options: "InferenceOptions") -> None:
    """Raises `UserError` for options other than those of the scale, which are all that a detector takes."""
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
    """A detector with the options of the scale; see `refuse_options_of_proposers` for the others."""
    from zip_keras.inference.detectors import load_keras_detector, with_detection_options

    return with_detection_options(
        load_keras_detector(model), short_sides=options.short_sides, long_side=options.long_side, flip=options.flip
    )
