"""`zip-keras compare`: compare prediction files on the same ground truth in one table and one plot."""

import argparse
import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._compare_detections import METRICS, compare_detections
from zip_keras.cli._output import cell, print_row, save_figure, sentence, without_nan, write_json
from zip_keras.cli._paths import check_input_file, check_output_file, check_picture
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.bootstrap import average_recall_interval, compare_recall
from zip_keras.evaluation.checks import check_categories, load_predictions
from zip_keras.evaluation.curves import (
    class_groups,
    found_per_image,
    groups_of_classes,
    recall_curves,
    recall_of_groups,
)
from zip_keras.evaluation.ground_truth import GroundTruth, numbered_categories
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.predictions.container import Predictions

DESCRIPTION = """\
Compares files of proposals, or of detections: average recall (protocol fast, equal to coco) or average precision
(fast-ap, equal to coco-ap) with 95 % confidence intervals, every pair ("A is better than B by x, p = ..."), curves
(paper Figure 7), classes, and seen against unseen classes (Table 5). Tables are Markdown. Intervals are from a
bootstrap over images, p from a permutation test that swaps the two methods image by image."""
EXAMPLES = """\
  zip-keras compare --ground-truth data/voc07:val --proposals zip.json selective_search.json --plot recall.png
  zip-keras compare --ground-truth data/voc07:val --proposals zip.json fpn.json --seen person car dog --by-class
  zip-keras compare --ground-truth data/voc07:val --detections one_stage.json two_stage.json --metric AP50
"""

Found = tuple[np.ndarray, np.ndarray]  # number of found objects and of all objects of each image
BUDGET = 100  # default of --budget: proposals per image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ground-truth", required=True, metavar="DATA", help="ground truth, as for evaluate")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--proposals", nargs="+", metavar="FILE", help="proposal files")
    what.add_argument("--detections", nargs="+", metavar="FILE", help="files with classes in category_id")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="names of the methods (default: file stems)")
    positive = _options.in_range(int, low=1)
    parser.add_argument(
        "--budget",
        type=positive,
        metavar="N",
        help=f"proposals per image for pairs and intervals (default: {BUDGET})",
    )
    parser.add_argument(
        "--metric",
        choices=list(METRICS),
        help="metric of detections for pairs and intervals (default: AP50; AP takes ten times as long)",
    )
    parser.add_argument("--draws", type=positive, default=2000, metavar="N", help="bootstrap samples (default: 2000)")
    parser.add_argument("--by-class", action="store_true", help="also print AR or AP of each class")
    _options.add_class_split_arguments(parser)
    parser.add_argument("--plot", metavar="FILE", help="write the curves: .png, .svg or .pdf")
    parser.add_argument("--json", metavar="FILE", help="also write all numbers to this file")
    _options.add_read_arguments(parser)
    _options.add_policy_arguments(parser)
    _options.add_category_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    files = arguments.proposals or arguments.detections
    _check(arguments, files)
    names = _names(files, arguments.names)
    read, policy = _options.read_options(arguments), _options.bad_box_policy(arguments)
    ground_truth = read_ground_truth(arguments.ground_truth, arguments.on_bad_object, arguments.pixels)
    if not ground_truth.counted.any():
        raise UserError(f"{arguments.ground_truth}: no object to find, so recall is not defined; name another split")
    split = _options.class_split(arguments, ground_truth)
    if arguments.category_ids == "numbers":
        ground_truth = numbered_categories(ground_truth)
    methods: dict[str, Predictions] = {}
    for name, file in zip(names, files, strict=True):
        checked = load_predictions(file, ground_truth, policy, read)
        if arguments.detections:
            check_categories(checked, ground_truth, arguments.on_unknown_class)
        methods[name] = checked.proposals
        what = "proposals" if arguments.proposals else "detections"
        left_out = "".join(f", {count} {kind} left out" for kind, count in checked.skipped.items())
        print(
            f"{name}: {checked.proposals.count} {what}, {checked.images_without_proposals} of {len(ground_truth)} "
            f"images without {what}{left_out}"
        )
    compare = _compare_proposals if arguments.proposals else compare_detections
    result = compare(arguments, ground_truth, methods, split)
    if arguments.json:
        write_json(arguments.json, {"ground_truth": arguments.ground_truth, **result})


def _check(arguments: argparse.Namespace, files: list[str]) -> None:
    """Raise `UserError` for conflicting options and invalid paths."""
    if arguments.detections and arguments.budget is not None:
        raise UserError("--budget is for proposals; leave it out")
    if arguments.proposals and arguments.metric is not None:
        raise UserError("--metric is for detections; give the files with --detections")
    if arguments.plot:
        check_picture("--plot", arguments.plot, (".png", ".svg", ".pdf"))
    for file in files:
        check_input_file("", file)
    check_output_file("--json", arguments.json)
    check_output_file("--plot", arguments.plot)


def _compare_proposals(
    arguments: argparse.Namespace,
    ground_truth: GroundTruth,
    methods: dict[str, Predictions],
    split: dict[str, tuple[str, ...]],
) -> dict[str, Any]:
    """Print the tables and return their numbers."""
    budget = arguments.budget or BUDGET
    found = {name: found_per_image(ground_truth, of_method, budget) for name, of_method in methods.items()}
    result: dict[str, Any] = {"protocol": "fast"}
    result |= _recall_table(ground_truth, methods, found, budget, arguments.draws)
    print()
    result["pairs"] = []
    for name_a, name_b in itertools.combinations(found, 2):
        (found_a, objects), (found_b, _) = found[name_a], found[name_b]
        comparison = compare_recall(found_a, found_b, objects, arguments.draws)
        print(sentence(name_a, name_b, comparison, f"AR@{budget}"))
        result["pairs"].append({"a": name_a, "b": name_b, "budget": budget, **asdict(comparison)})
    if split:
        groups = groups_of_classes(ground_truth, split)
        result["seen_unseen"] = _groups_table("classes", ground_truth, methods, groups, (10, 100))
    if arguments.by_class:
        result["classes"] = _groups_table("class", ground_truth, methods, class_groups(ground_truth), (budget,))
    if arguments.plot:
        from zip_keras.plots.recall import recall_figure

        curves = [recall_curves(ground_truth, proposals, name) for name, proposals in methods.items()]
        save_figure(arguments.plot, recall_figure(curves))
    return result


def _recall_table(
    ground_truth: GroundTruth, methods: dict[str, Predictions], found: dict[str, Found], budget: int, draws: int
) -> dict[str, Any]:
    print(f"\n{ground_truth.spec}, protocol fast (equal to coco), {int(ground_truth.counted.sum())} objects\n")
    rows = {}
    for number, (name, proposals) in enumerate(methods.items()):
        recall = average_recall(ground_truth, proposals)
        interval = average_recall_interval(*found[name], draws=draws)
        if not number:
            print_row("method", *recall, f"95 % interval of AR@{budget}")
            print_row(*["---"] * (len(recall) + 2))
        print_row(name, *map(cell, recall.values()), f"{interval.low:.4f} to {interval.high:.4f}")
        rows[name] = without_nan(recall) | {"bounds_of": f"AR@{budget}", "bounds": asdict(interval)}
    return {"methods": rows}


def _groups_table(
    title: str,
    ground_truth: GroundTruth,
    methods: dict[str, Predictions],
    groups: dict[str, Any],
    budgets: tuple[int, ...],
) -> dict[str, Any]:
    table = {name: recall_of_groups(ground_truth, found, groups, budgets) for name, found in methods.items()}
    print()
    print_row(title, "objects", *(f"{name} AR@{budget}" for name in methods for budget in budgets))
    print_row(*["---"] * (2 + len(methods) * len(budgets)))
    for group, members in groups.items():
        values = [table[name][group][budget] for name in methods for budget in budgets]
        print_row(group, str(int((members & ground_truth.counted).sum())), *map(cell, values))
    return {
        name: {group: without_nan({f"AR@{n}": v for n, v in of_group.items()}) for group, of_group in of_method.items()}
        for name, of_method in table.items()
    }


def _names(files: list[str], names: list[str] | None) -> list[str]:
    if names is None:
        stems = [Path(file).stem for file in files]
        names = stems if len(set(stems)) == len(files) else files
    if len(names) != len(files):
        raise UserError(f"{len(files)} proposal files but {len(names)} names; give one name per file")
    if len(set(names)) < len(names):
        raise UserError("two methods have the same name; tell them apart with --names")
    return names
