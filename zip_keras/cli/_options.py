"""Command line options for `zip_keras.inference.options.InferenceOptions`, shared by the commands that use a model."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zip_keras.errors import UserError

if TYPE_CHECKING:
    from zip_keras.inference.options import InferenceOptions


def add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("prediction (default: as trained)")
    group.add_argument("--max-proposals", type=int, metavar="N", help="boxes an image at most")
    group.add_argument(
        "--scales", type=int, nargs="+", metavar="PIXELS", help="scale or scales of the image: pixels of its short side"
    )
    group.add_argument("--long-side", type=int, metavar="PIXELS", help="cap of the longer side at every scale")
    group.add_argument(
        "--multi-scale",
        action="store_true",
        help="the paper's four scales: 1000, 750, 500, 250 for a model of scale 600",
    )
    group.add_argument("--flip", action="store_true", default=None, help="flip test-time augmentation")
    group.add_argument(
        "--refinement-steps",
        type=int,
        metavar="T",
        help="feed boxes back and refine them T times (needs model.refinement_steps)",
    )
    group.add_argument("--vote", type=float, metavar="IOU", help="box voting among boxes that overlap so much; 0 = off")
    group.add_argument(
        "--postprocess",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="other fields of the config's postprocess section, for example nms_iou=0.9 'thresholds=[0.95,0.8]'",
    )


def read_inference_options(arguments: argparse.Namespace) -> "InferenceOptions":
    """Raises `UserError` for values that cannot be."""
    from zip_keras.inference.options import InferenceOptions

    return InferenceOptions(
        max_proposals=arguments.max_proposals,
        short_sides=arguments.scales,
        long_side=arguments.long_side,
        multi_scale=arguments.multi_scale,
        flip=arguments.flip,
        vote_iou=arguments.vote,
        refinement_steps=arguments.refinement_steps,
        postprocess=_fields(arguments.postprocess) or None,
    )


def _fields(words: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in map(_field, words):
        if name in fields:
            raise UserError(f"--postprocess: {name} is given twice; give it once")
        fields[name] = value
    return fields


def _field(words: str) -> tuple[str, Any]:
    """A field and its value, from `name=value`, the value as in JSON."""
    name, _, value = words.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise UserError(
            f"--postprocess {words}: write NAME=VALUE, the value a number, a list such as [0.95,0.8], or null"
        ) from None
