"""`zip-keras compare`: any number of proposal files on the same ground truth, in one table and one picture."""

import argparse
import itertools
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._output import print_row, without_nan, write_json
from zip_keras.cli._paths import check_input_file, check_output_file
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.bootstrap import Comparison, average_recall_interval, compare_recall
from zip_keras.evaluation.checks import load_predictions
from zip_keras.evaluation.curves import (
    class_groups,
    found_per_image,
    named_groups,
    recall_curves,
    recall_of_groups,
)
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.predictions.container import Predictions
from zip_keras.utils.files import atomic_write

DESCRIPTION = """\
Compares proposal files: average recall (protocol fast, equal to coco) with 95 % confidence intervals, every pair ("A
is better than B by x, p = ..."), curves of recall (paper Figure 7), classes, and seen against unseen classes (Table
5). Tables are Markdown. Intervals are a bootstrap over images, p a permutation test that swaps two methods image
by image."""
EXAMPLES = """\
  zip-keras compare --ground-truth data/voc07:val --proposals zip.json selective_search.json --plot recall.png
  zip-keras compare --ground-truth data/voc07:val --proposals zip.json fpn.json --seen person car dog --by-class
"""

Found = tuple[np.ndarray, np.ndarray]  # objects found and objects of every image
PLOTS = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ground-truth", required=True, metavar="DATA", help="as for evaluate")
    parser.add_argument("--proposals", required=True, nargs="+", metavar="FILE", help="proposal files")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the methods; default: the files' stems")
    positive = _options.in_range(int, low=1)
    parser.add_argument(
        "--budget",
        type=positive,
        default=100,
        metavar="N",
        help="proposals an image for pairs and intervals (default: 100)",
    )
    parser.add_argument("--draws", type=positive, default=2000, metavar="N", help="of the bootstrap (default: 2000)")
    parser.add_argument("--by-class", action="store_true", help="also AR of each class")
    parser.add_argument("--seen", nargs="+", metavar="CLASS", help="classes seen in training, or one file of names")
    parser.add_argument("--plot", metavar="FILE", help="write the curves: .png, .svg or .pdf")
    parser.add_argument("--json", metavar="FILE", help="also write all numbers here")
    _options.add_read_arguments(parser)
    _options.add_policy_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    if arguments.plot and Path(arguments.plot).suffix.lower() not in PLOTS:
        raise UserError(f"--plot {arguments.plot}: the suffix must be one of {', '.join(PLOTS)}")
    names = _names(arguments.proposals, arguments.names)
    for file in arguments.proposals:
        check_input_file("", file)
    check_output_file("--json", arguments.json)
    check_output_file("--plot", arguments.plot)
    read, policy = _options.read_options(arguments), _options.bad_box_policy(arguments)
    ground_truth = read_ground_truth(arguments.ground_truth, arguments.on_bad_object, arguments.pixels)
    if not ground_truth.counted.any():
        raise UserError(f"{arguments.ground_truth}: no object to find: recall is not defined; name another split")
    groups = named_groups(ground_truth, _seen(arguments.seen)) if arguments.seen else {}
    methods: dict[str, Predictions] = {}
    for name, file in zip(names, arguments.proposals, strict=True):
        checked = load_predictions(file, ground_truth, policy, read)
        methods[name] = checked.proposals
        left_out = "".join(f", {count} {kind} left out" for kind, count in checked.skipped.items())
        print(
            f"{name}: {checked.proposals.count} proposals, {checked.images_without_proposals} of {len(ground_truth)} "
            f"images without proposals{left_out}"
        )
    found = {name: found_per_image(ground_truth, of_method, arguments.budget) for name, of_method in methods.items()}
    result = _recall_table(ground_truth, methods, found, arguments.budget, arguments.draws)
    result |= _pairs_table(found, arguments.budget, arguments.draws)
    if groups:
        result["seen_unseen"] = _groups_table("classes", ground_truth, methods, groups, (10, 100))
    if arguments.by_class:
        result["classes"] = _groups_table(
            "class", ground_truth, methods, class_groups(ground_truth), (arguments.budget,)
        )
    if arguments.json:
        write_json(arguments.json, {"protocol": "fast", "ground_truth": arguments.ground_truth, **result})
    if arguments.plot:
        _plot(arguments.plot, ground_truth, methods)


def sentence(name_a: str, name_b: str, comparison: Comparison, budget: int) -> str:
    """The verdict in words: the better one, the difference with its interval, and p."""
    bounds = comparison.difference
    if bounds.low <= 0 <= bounds.high:
        return f"{name_a} and {name_b} cannot be told apart: AR@{budget} differs by {bounds}, p = {comparison.p:.4f}"
    better, worse = (name_a, name_b) if bounds.value > 0 else (name_b, name_a)
    low, high = sorted((abs(bounds.low), abs(bounds.high)))
    size = f"{abs(bounds.value):.4f} [{low:.4f}, {high:.4f}]"
    return f"{better} is better than {worse} by {size} AR@{budget}, p = {comparison.p:.4f}"


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
        print_row(name, *map(_cell, recall.values()), f"{interval.low:.4f} to {interval.high:.4f}")
        rows[name] = without_nan(recall) | {"bounds_of": f"AR@{budget}", "bounds": asdict(interval)}
    return {"methods": rows}


def _pairs_table(found: dict[str, Found], budget: int, draws: int) -> dict[str, Any]:
    pairs = []
    print()
    for name_a, name_b in itertools.combinations(found, 2):
        (found_a, objects), (found_b, _) = found[name_a], found[name_b]
        comparison = compare_recall(found_a, found_b, objects, draws)
        print(sentence(name_a, name_b, comparison, budget))
        pairs.append({"a": name_a, "b": name_b, "budget": budget, **asdict(comparison)})
    return {"pairs": pairs}


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
        print_row(group, str(int((members & ground_truth.counted).sum())), *map(_cell, values))
    return {
        name: {group: without_nan({f"AR@{n}": v for n, v in of_group.items()}) for group, of_group in of_method.items()}
        for name, of_method in table.items()
    }


def _plot(file: str, ground_truth: GroundTruth, methods: dict[str, Predictions]) -> None:
    from zip_keras.plots.recall import recall_figure

    figure = recall_figure([recall_curves(ground_truth, proposals, name) for name, proposals in methods.items()])
    with atomic_write(file) as unfinished:
        figure.savefig(unfinished, format=Path(file).suffix.lstrip(".").lower(), dpi=110)
    print(f"\ncurves: {file}")


def _names(files: list[str], names: list[str] | None) -> list[str]:
    if names is None:
        stems = [Path(file).stem for file in files]
        names = stems if len(set(stems)) == len(files) else files
    if len(names) != len(files):
        raise UserError(f"{len(files)} proposal files but {len(names)} names; give one name a file")
    if len(set(names)) < len(names):
        raise UserError("two methods have the same name; tell them apart with --names")
    return names


def _seen(names: list[str]) -> list[str]:
    if len(names) == 1 and Path(names[0]).is_file():
        lines = Path(names[0]).read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]  # a name may hold spaces
    return names


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"  # no such object
