"""HTML report of a detection evaluation: metrics, classes, curves, kinds of error, and the worst images."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from zip_keras.evaluation.average_precision import best_operating_point, class_numbers, precision_at_recall_levels
from zip_keras.evaluation.detection_matching import match_detections
from zip_keras.evaluation.error_kinds import KINDS, JudgedImage, error_kinds, judge_image
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.plots.colours import FOUND, MISSED, NO_LEVEL, css
from zip_keras.plots.detections import LABELLED_SCORE
from zip_keras.plots.html import LoadImage, inline_svg, number, rectangle, render, shown_image
from zip_keras.plots.precision import precision_figure
from zip_keras.predictions.container import Predictions

_COLOURS = {"found": FOUND, "missed": MISSED, "detection": NO_LEVEL, "wrong": (255, 120, 0)}


def detection_report(
    title: str,
    numbers: dict[str, float],
    facts: dict[str, Any],
    ground_truth: GroundTruth,
    detections: Predictions,
    load_image: LoadImage,
    images: int = 24,
) -> str:
    """Render the report as HTML text.

    Args:
        title: model, data set and protocol.
        numbers: metrics of the protocol; NaN if the data has no such object.
        facts: counts to show with the metrics.
        ground_truth, detections: the evaluated data.
        load_image: returns uint8 `[H, W, 3]` RGB for an image id, or None if there is no picture.
        images: number of worst images to show.

    Raises:
        UserError: Jinja2 or Matplotlib is not installed.
    """
    matches = match_detections(ground_truth, detections)
    curves = {of_class.name: precision_at_recall_levels(of_class)[0] for of_class in matches}
    errors = error_kinds(ground_truth, detections)
    point = best_operating_point(matches)
    by_class = class_numbers(matches)
    hardest = sorted(by_class, key=lambda name: (math.isnan(by_class[name]["AP"]), by_class[name]["AP"]))
    score = LABELLED_SCORE if point is None else point.score
    return render(
        "detection_report.html",
        title=title,
        colours={kind: css(colour) for kind, colour in _COLOURS.items()},
        numbers=[(name, number(value)) for name, value in numbers.items()],
        facts=[(name.replace("_", " "), str(value)) for name, value in facts.items()],
        point=None if point is None else {name: f"{value:.3f}" for name, value in dataclasses.asdict(point).items()},
        score=f"{score:.3f}",
        curves=inline_svg(precision_figure(curves, errors)),
        kinds=[(kind, errors.counts[kind], f"{errors.cost[kind]:.4f}") for kind in KINDS],
        classes=[
            {
                "name": name,
                "objects": by_class[name]["objects"],
                "numbers": [number(by_class[name][of]) for of in ("AP", "AP50", "AP75")],
                "share": None if math.isnan(by_class[name]["AP"]) else round(200 * by_class[name]["AP"]),
            }
            for name in hardest
        ],
        images=list(_worst_images(ground_truth, detections, score, load_image, images)),
    )


def _worst_images(
    ground_truth: GroundTruth, detections: Predictions, score: float, load_image: LoadImage, images: int
) -> Iterator[dict[str, Any]]:
    """Template entries of the images with most errors, counting only detections with at least `score`."""
    shown = Predictions(detections.name)
    for part in detections:
        kept = part.choose(part.scores >= score)
        shown.add_xywh(kept.image_id, kept.xywh, kept.scores, kept.categories, kept.levels)
    judged = [judge_image(ground_truth, place, shown) for place in range(len(ground_truth))]
    counts = np.array([(_missed(image).sum(), _wrong(image).sum()) for image in judged]).reshape(-1, 2)
    for place in np.argsort(-counts.sum(axis=1), kind="stable")[:images]:
        missed, wrong = counts[place]
        caption = f"{missed} of {len(judged[place].rows)} objects missed, {wrong} wrong detections"
        boxes = list(_boxes(ground_truth, int(place), judged[place]))
        yield shown_image(ground_truth, int(place), load_image, boxes, caption)


def _missed(image: JudgedImage) -> np.ndarray:
    """Objects without a correct detection: bool `[g]`."""
    return ~np.isin(np.arange(len(image.rows)), image.taken)


def _wrong(image: JudgedImage) -> np.ndarray:
    """Wrong detections: bool `[n]`."""
    return np.array([verdict in KINDS for verdict in image.verdicts], bool)


def _boxes(ground_truth: GroundTruth, place: int, image: JudgedImage) -> Iterator[dict[str, str]]:
    """Rectangles of an image's objects and detections."""
    missed = _missed(image)
    counted = set(image.rows.tolist())
    for row in range(int(ground_truth.starts[place]), int(ground_truth.starts[place + 1])):
        name, box = ground_truth.class_names[ground_truth.classes[row]], ground_truth.xywh[row]
        if row not in counted:
            yield rectangle(box, "ignored", f"{name}, ignored")
            continue
        is_missed = missed[int(np.flatnonzero(image.rows == row)[0])]
        yield rectangle(box, "edge")
        yield rectangle(box, "missed" if is_missed else "found", f"{name}, {'missed' if is_missed else 'found'}")
    for rank, verdict in enumerate(image.verdicts):
        text = f"{ground_truth.class_names[image.classes[rank]]} {image.scores[rank]:.2f}, {verdict}"
        if verdict in KINDS:
            yield rectangle(image.xywh[rank], "wrong", f"{text} error" if verdict in KINDS[:2] else text)
        else:
            yield rectangle(image.xywh[rank], "detection", text)
