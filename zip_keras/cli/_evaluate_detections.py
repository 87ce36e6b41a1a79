"""Metrics, tables and plots of `zip-keras evaluate --detections`."""

import argparse
import functools
from collections.abc import Callable
from typing import Any

from zip_keras.cli._output import print_columns, save_figure, without_nan
from zip_keras.evaluation.average_precision import (
    class_numbers,
    fast_average_precision,
    group_numbers,
    precision_at_recall_levels,
)
from zip_keras.evaluation.detection_matching import match_detections
from zip_keras.evaluation.error_kinds import KINDS, ErrorKinds, error_kinds
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.protocols import IOU_THRESHOLDS, RECALL_LEVELS
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.evaluation.voc import voc_average_precision
from zip_keras.predictions.container import Predictions

DETECTION_PROTOCOLS: dict[str, Callable[[GroundTruth, Predictions], dict[str, float]]] = {
    "coco-ap": coco_average_precision,
    "fast-ap": fast_average_precision,
    "voc07": functools.partial(voc_average_precision, points="eleven"),
    "voc12": functools.partial(voc_average_precision, points="every"),
}


def measure_detections(ground_truth: GroundTruth, detections: Predictions, protocol: str) -> dict[str, float]:
    """Compute the metrics of a protocol."""
    return DETECTION_PROTOCOLS[protocol](ground_truth, detections)


def detection_details(
    arguments: argparse.Namespace,
    ground_truth: GroundTruth,
    detections: Predictions,
    split: dict[str, tuple[str, ...]],
    protocol: str,
) -> dict[str, Any]:
    """Print and plot the requested details, computed with COCO's matching, and return them for the json."""
    result: dict[str, Any] = {}
    if not (split or arguments.by_class or arguments.error_kinds or arguments.plot):
        return result
    matches = match_detections(ground_truth, detections)
    by_class = class_numbers(matches)
    if split:
        result["seen_unseen"] = _print_rows("by classes", group_numbers(by_class, split))
    if arguments.by_class:
        result["classes"] = _print_rows("by class", by_class)
    errors = error_kinds(ground_truth, detections) if arguments.error_kinds or arguments.plot else None
    if errors is not None and arguments.error_kinds:
        result["error_kinds"] = _print_errors(errors)
    if arguments.plot:
        from zip_keras.plots.precision import precision_figure

        curves = {of_class.name: precision_at_recall_levels(of_class)[0] for of_class in matches}
        save_figure(arguments.plot, precision_figure(curves, errors))
        rows = {f"{threshold:.2g}": row for row, threshold in enumerate(IOU_THRESHOLDS) if row in (0, 5)}
        result["curves"] = {
            "recall": RECALL_LEVELS.round(2).tolist(),
            "precision": {
                name: {threshold: curve[row].tolist() for threshold, row in rows.items()}
                for name, curve in curves.items()
                if by_class[name]["objects"]
            },
        }
    return result


def _print_rows(title: str, rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    print(f"  {title}, protocol fast-ap (equal to coco-ap)")
    print_columns(rows)
    return {name: without_nan(row) for name, row in rows.items()}


def _print_errors(errors: ErrorKinds) -> dict[str, Any]:
    """Print the errors by kind, all false alarms and all missed objects, and return the numbers."""
    rows = {kind: {"errors": errors.counts[kind], "AP50 cost": errors.cost[kind]} for kind in KINDS}
    print(f"  kinds of error, and the gain of AP50 ({errors.ap:.4f}) without them")
    print_columns(rows)
    print(
        f"  gain without all false alarms {errors.false_alarms:.4f}, without all missed objects {errors.all_missed:.4f}"
    )
    return {
        "AP50": errors.ap,
        "cost": errors.cost,
        "counts": errors.counts,
        "false_alarms": errors.false_alarms,
        "all_missed": errors.all_missed,
    }
