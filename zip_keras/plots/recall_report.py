"""HTML report of a proposal evaluation: metrics, curves, classes, and the images with most missed objects."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zip_keras.evaluation.curves import class_groups, found_per_image, recall_curves, recall_of_groups, size_groups
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.matching import NEVER, match_ranks, overlaps
from zip_keras.evaluation.per_level import has_levels, level_name, per_level
from zip_keras.plots.colours import FOUND, LEVEL_COLOURS, MISSED, NO_LEVEL, css
from zip_keras.plots.html import LoadImage, inline_svg, number, rectangle, render, shown_image
from zip_keras.plots.recall import recall_figure
from zip_keras.predictions.container import ImageId, Predictions

BUDGET = 100  # proposals per image for the ranking and the pictures
LOOSE = np.array([0.5])  # IoU threshold at which a picture shows an object as found

_COLOURS = {"found": FOUND, "missed": MISSED, "proposal": NO_LEVEL}  # level classes follow and override "proposal"
_COLOURS |= {f"level-{level}": colour for level, colour in LEVEL_COLOURS.items()}


def recall_report(
    title: str,
    numbers: dict[str, float],
    facts: dict[str, Any],
    ground_truth: GroundTruth,
    proposals: Predictions,
    load_image: LoadImage,
    images: int = 24,
) -> str:
    """Render the report as HTML text.

    Args:
        title: model, data set and protocol.
        numbers: metrics of the protocol; NaN if the data has no such object.
        facts: counts to show with the metrics.
        ground_truth, proposals: the evaluated data.
        load_image: returns uint8 `[H, W, 3]` RGB for an image id, or None if there is no picture.
        images: number of worst images to show.

    Raises:
        UserError: Jinja2 or Matplotlib is not installed.
    """
    curves = recall_curves(ground_truth, proposals)
    sizes = recall_of_groups(ground_truth, proposals, size_groups(ground_truth))
    classes = recall_of_groups(ground_truth, proposals, class_groups(ground_truth), (BUDGET,))
    counted = ground_truth.counted
    members = class_groups(ground_truth)
    levels = per_level(ground_truth, proposals) if has_levels(proposals) else {}
    by_recall = sorted(classes, key=lambda name: (math.isnan(classes[name][BUDGET]), classes[name][BUDGET]))
    return render(
        "recall_report.html",
        title=title,
        budget=BUDGET,
        colours={kind: css(colour) for kind, colour in _COLOURS.items()},
        numbers=[(name, number(value)) for name, value in numbers.items()],
        facts=[(name.replace("_", " "), str(value)) for name, value in facts.items()],
        size_head=["size", *(f"AR@{budget}" for budget in sizes["all"])],
        sizes=[(size, *map(number, row.values())) for size, row in sizes.items()],
        level_head=["", *next(iter(levels.values()), {})],
        levels=[(level_name(level), *map(number, row.values())) for level, row in levels.items()],
        curves=inline_svg(recall_figure([curves])),
        classes=[
            (
                name,
                int((members[name] & counted).sum()),
                number(value),
                None if math.isnan(value) else round(200 * value),
            )
            for name, value in ((name, classes[name][BUDGET]) for name in by_recall)
        ],
        level_keys=_level_keys(levels),
        images=list(_worst_images(ground_truth, proposals, load_image, images)),
    )


def _level_keys(levels: dict[int, dict[str, float]]) -> list[tuple[str, str]]:
    """Style class and name of each level that occurs; a single entry if the proposals have no levels."""
    if not levels:
        return [("proposal", "yellow")]
    return [(f"level-{level}" if level else "proposal", level_name(level)) for level in levels]


def _worst_images(
    ground_truth: GroundTruth, proposals: Predictions, load_image: LoadImage, images: int
) -> Iterator[dict[str, Any]]:
    """Template entries of the images with most missed objects."""
    found, objects = found_per_image(ground_truth, proposals, BUDGET)
    everything = np.ones((1, len(ground_truth.xywh)), bool)
    ranks = match_ranks(ground_truth, proposals, BUDGET, LOOSE, everything)[0, 0]
    for place in np.argsort(found - objects, kind="stable")[:images]:
        image_id = ground_truth.image_ids[place]
        rows = range(int(ground_truth.starts[place]), int(ground_truth.starts[place + 1]))
        missed = sum(ranks[row] == NEVER for row in rows if ground_truth.counted[row])
        share = found[place] / objects[place] if objects[place] else math.nan
        boxes = list(_object_boxes(ground_truth, proposals, image_id, rows, ranks))
        caption = f"AR@{BUDGET} {number(share)}, {missed} of {objects[place]} objects missed"
        caption += f", {len(proposals[image_id])} proposals"
        yield shown_image(ground_truth, int(place), load_image, boxes, caption)


def _object_boxes(
    ground_truth: GroundTruth, proposals: Predictions, image_id: ImageId, rows: Sequence[int], ranks: np.ndarray
) -> Iterator[dict[str, str]]:
    """Rectangles of an image's objects and the proposals that found them."""
    boxes, levels = proposals[image_id].xywh[:BUDGET], proposals[image_id].levels[:BUDGET]
    for row in rows:
        best = overlaps(boxes, ground_truth.xywh[row : row + 1]).max(initial=0.0)
        name = ground_truth.class_names[ground_truth.classes[row]]
        if not ground_truth.counted[row]:
            yield rectangle(ground_truth.xywh[row], "ignored", f"{name}, ignored")
        elif ranks[row] == NEVER:
            yield rectangle(ground_truth.xywh[row], "edge")
            yield rectangle(ground_truth.xywh[row], "missed", f"{name}, missed; greatest IoU {best:.2f}")
        else:
            level = int(levels[ranks[row]])
            kind, text = "proposal", f"proposal {ranks[row] + 1}"
            if level:
                kind, text = f"proposal level-{level}", f"{text}, {level_name(level)}"
            yield rectangle(ground_truth.xywh[row], "edge")
            yield rectangle(boxes[ranks[row]], kind, text)
            yield rectangle(
                ground_truth.xywh[row], "found", f"{name}, found by proposal {ranks[row] + 1}; greatest IoU {best:.2f}"
            )
