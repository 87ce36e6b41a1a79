"""Metrics, tables and plots of `zip-keras compare --detections`."""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from zip_keras.cli._output import cell, print_row, save_figure, sentence, without_nan
from zip_keras.evaluation.average_precision import (
    class_numbers,
    group_numbers,
    precision_at_recall_levels,
    twelve_numbers,
)
from zip_keras.evaluation.detection_bootstrap import METRICS, average_precision_interval, compare_average_precision
from zip_keras.evaluation.detection_matching import ClassMatches, match_detections
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.protocols import AREA_RANGES
from zip_keras.predictions.container import Predictions

METRIC = "AP50"


def compare_detections(
    arguments: argparse.Namespace,
    ground_truth: GroundTruth,
    methods: dict[str, Predictions],
    split: dict[str, tuple[str, ...]],
) -> dict[str, Any]:
    """Print the tables and return their numbers."""
    metric = arguments.metric or METRIC
    matches = {name: match_detections(ground_truth, found, ranges=AREA_RANGES) for name, found in methods.items()}
    judged = {name: [of_class.at(METRICS[metric]) for of_class in of_method] for name, of_method in matches.items()}
    objects = int(ground_truth.counted.sum())
    print(f"\n{ground_truth.spec}, protocol fast-ap (equal to coco-ap), {objects} objects\n")
    result: dict[str, Any] = {"protocol": "fast-ap", "methods": {}, "pairs": []}
    for number, (name, of_method) in enumerate(matches.items()):
        numbers = twelve_numbers(of_method)
        interval = average_precision_interval(judged[name], arguments.draws)
        if not number:
            print_row("method", *numbers, f"95 % interval of {metric}")
            print_row(*["---"] * (len(numbers) + 2))
        print_row(name, *map(cell, numbers.values()), f"{interval.low:.4f} to {interval.high:.4f}")
        result["methods"][name] = without_nan(numbers) | {"bounds_of": metric, "bounds": asdict(interval)}
    print()
    for name_a, name_b in itertools.combinations(methods, 2):
        comparison = compare_average_precision(judged[name_a], judged[name_b], arguments.draws)
        print(sentence(name_a, name_b, comparison, metric))
        result["pairs"].append({"a": name_a, "b": name_b, "metric": metric, **asdict(comparison)})
    by_class = {name: class_numbers(of_method) for name, of_method in matches.items()}
    if split:
        result["seen_unseen"] = _table("classes", {n: group_numbers(rows, split) for n, rows in by_class.items()})
    if arguments.by_class:
        result["classes"] = _table("class", by_class)
    if arguments.plot:
        from zip_keras.plots.precision import compared_precision_figure

        save_figure(arguments.plot, compared_precision_figure({n: _mean_curve(m) for n, m in matches.items()}))
    return result


def _table(title: str, methods: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    print()
    print_row(title, "objects", *(f"{name} {of}" for name in methods for of in ("AP", "AP50")))
    print_row(*["---"] * (2 + 2 * len(methods)))
    for row, numbers in next(iter(methods.values())).items():
        values = [of_method[row][of] for of_method in methods.values() for of in ("AP", "AP50")]
        print_row(row, str(numbers["objects"]), *map(cell, values))
    return {
        name: {row: without_nan(numbers) for row, numbers in of_method.items()} for name, of_method in methods.items()
    }


def _mean_curve(matches: Sequence[ClassMatches]) -> np.ndarray:
    """Precision, mean over the classes with objects: float64 `[T, 101]`."""
    curves = np.stack([precision_at_recall_levels(of_class)[0] for of_class in matches])
    return curves[~np.isnan(curves[:, 0, 0])].mean(axis=0)
