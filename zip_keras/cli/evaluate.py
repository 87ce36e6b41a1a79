"""`zip-keras evaluate`: measures a proposal file against ground truth."""

import argparse
import json
import math
import time
from typing import Any

from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import PROTOCOLS, average_recall
from zip_keras.evaluation.checks import Checked, Policy, load_proposals
from zip_keras.evaluation.formats.files import complete_or_nothing
from zip_keras.evaluation.ground_truth import GroundTruth, read_ground_truth

DESCRIPTION = "Average recall of proposals. An image without proposals still counts its objects."
EXAMPLES = """\
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json
  zip-keras evaluate --ground-truth instances_val.json --proposals proposals.json --protocol fast --json result.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ground-truth", required=True, metavar="DATA", help="DEVKIT:SPLIT, instances.json or another data set spec"
    )
    parser.add_argument("--proposals", required=True, metavar="FILE", help="COCO results")
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="coco",
        help="coco: pycocotools, class-agnostic (default); fast: the same numbers without it",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here; null = no object of that size")
    add_policy_arguments(parser)


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with proposals that cannot be right; `read_policy` reads the answers."""
    group = parser.add_argument_group("bad input")
    group.add_argument(
        "--on-bad-box", choices=["error", "skip"], default="error", help="NaN, infinite, or no width or height"
    )
    group.add_argument(
        "--on-unknown-image", choices=["error", "skip"], default="error", help="image that the ground truth lacks"
    )
    group.add_argument(
        "--on-outside-box", choices=["error", "skip", "keep"], default="error", help="centre outside the image"
    )


def read_policy(arguments: argparse.Namespace) -> Policy:
    return Policy(arguments.on_bad_box, arguments.on_unknown_image, arguments.on_outside_box)


def run(arguments: argparse.Namespace) -> None:
    ground_truth = read_ground_truth(arguments.ground_truth)
    if not ground_truth.counted.any():
        raise UserError(f"{arguments.ground_truth}: no object to find: recall is not defined; name another split")
    checked = load_proposals(arguments.proposals, ground_truth, read_policy(arguments))
    started = time.perf_counter()
    numbers = average_recall(ground_truth, checked.proposals, arguments.protocol)
    seconds = time.perf_counter() - started
    facts = describe(ground_truth, checked)
    print(f"{arguments.proposals} on {arguments.ground_truth}, protocol {arguments.protocol} ({seconds:.1f} s)")
    for name, value in facts.items():
        print(f"  {name.replace('_', ' ')}: {value}")
    print_numbers(numbers)
    if arguments.json:
        content = {"protocol": arguments.protocol, **without_nan(numbers), **facts}
        content |= {"ground_truth": arguments.ground_truth, "proposals_file": arguments.proposals}
        write_json(arguments.json, content)


def describe(ground_truth: GroundTruth, checked: Checked) -> dict[str, Any]:
    """What was measured and what was left out."""
    return {
        "images": len(ground_truth),
        "images_without_proposals": checked.images_without_proposals,
        "objects": int(ground_truth.counted.sum()),
        "ignored_objects": int((~ground_truth.counted).sum()),
        "proposals": checked.proposals.count,
        "skipped": dict(checked.skipped),
    }


def print_numbers(numbers: dict[str, float]) -> None:
    width = max(map(len, numbers))
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {'no such object' if math.isnan(value) else f'{value:.4f}'}")


def without_nan(numbers: dict[str, float]) -> dict[str, float | None]:
    """json has no NaN: a size of which the data has no object becomes null."""
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def write_json(file: str, content: dict[str, Any]) -> None:
    with complete_or_nothing(file) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
