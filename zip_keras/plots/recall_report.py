"""An evaluation as one HTML file: numbers, curves, classes, and the images where most objects are missed.

The file needs nothing beside itself: curves are inline SVG, pictures are JPEG data URIs with the boxes drawn as SVG
over them, so that pointing at a box shows what it is.
"""

import base64
import html
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from zip_keras.evaluation.curves import class_groups, found_per_image, recall_curves, recall_of_groups, size_groups
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.matching import NEVER, match_ranks, overlaps
from zip_keras.evaluation.per_level import has_levels, level_name, per_level
from zip_keras.plots.colours import FOUND, LEVEL_COLOURS, MISSED, NO_LEVEL, css
from zip_keras.plots.recall import recall_figure
from zip_keras.predictions.container import ImageId, Predictions

BUDGET = 100  # proposals an image by which images are judged
LOOSE = np.array([0.5])  # the IoU from which a picture shows an object as found
_LONGEST_SIDE = 560  # pixels of a picture

LoadImage = Callable[[ImageId], np.ndarray | None]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1240px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; text-align: right }
th { border-bottom: 1px solid #888 } td:first-child, th:first-child { text-align: left }
.images { display: flex; flex-wrap: wrap; gap: 1.2em } figure { margin: 0; width: 380px } figcaption { font-size: 13px }
svg.picture { width: 100%; height: auto; background: #eee } svg.picture rect { fill: transparent; stroke-width: 3 }
.ignored { stroke: #999; stroke-dasharray: 8 5 } svg.picture rect.edge { stroke: #000; stroke-width: 6 }
.proposal { stroke-dasharray: 4 4 } .bar { background: #4c87c7; height: .8em; display: inline-block }
b.key { background: #555; padding: 0 .4em; border-radius: 3px }
"""
_COLOURS = {"found": FOUND, "missed": MISSED, "proposal": NO_LEVEL}  # a level's class comes after "proposal" and wins
_COLOURS |= {f"level-{level}": colour for level, colour in LEVEL_COLOURS.items()}
_STYLE += "".join(f".{kind} {{ stroke: {css(colour)}; color: {css(colour)} }}\n" for kind, colour in _COLOURS.items())


def recall_report(
    title: str,
    numbers: dict[str, float],
    facts: dict[str, Any],
    ground_truth: GroundTruth,
    proposals: Predictions,
    load_image: LoadImage,
    images: int = 24,
) -> str:
    """The report as HTML text.

    Args:
        title: what was measured on what, by which protocol.
        numbers: of the protocol; NaN where the data has no such object.
        facts: counts to state beside them.
        load_image: gives uint8 `[H, W, 3]` RGB of an image id, or None where there is no picture.
        images: how many of the worst images to show.
    """
    curves = recall_curves(ground_truth, proposals)
    sizes = recall_of_groups(ground_truth, proposals, size_groups(ground_truth))
    classes = recall_of_groups(ground_truth, proposals, class_groups(ground_truth), (BUDGET,))
    counted = ground_truth.counted
    members = class_groups(ground_truth)
    levels = per_level(ground_truth, proposals) if has_levels(proposals) else {}
    by_recall = sorted(classes, key=lambda name: (math.isnan(classes[name][BUDGET]), classes[name][BUDGET]))
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        _table(("", "value"), [(name, _number(value)) for name, value in numbers.items()]),
        _table(("", ""), [(name.replace("_", " "), str(value)) for name, value in facts.items()]),
        "<p>What follows is of protocol fast, which equals coco, whatever was measured above.</p>",
        "<h2>By object size</h2>",
        _table(
            ("size", *(f"AR@{budget}" for budget in sizes["all"])),
            [(size, *map(_number, row.values())) for size, row in sizes.items()],
        ),
        *_level_section(levels),
        "<h2>Recall against IoU and against the number of proposals</h2>",
        _inline_svg(recall_figure([curves])),
        f"<h2>By class, AR@{BUDGET}, hardest first</h2>",
        _table(
            ("class", "objects", f"AR@{BUDGET}", ""),
            [
                (
                    name,
                    int((members[name] & counted).sum()),
                    _number(classes[name][BUDGET]),
                    _bar(classes[name][BUDGET]),
                )
                for name in by_recall
            ],
        ),
        f"<h2>Worst images</h2><p>Most objects missed first, with {BUDGET} proposals an image. "
        f"{_key('found', 'White')}: found with IoU .5; {_key('missed', 'magenta')}: missed; "
        f"{_level_keys(levels)}, dashed: the proposal that found it; grey: ignored.</p>",
        f'<div class="images">{"".join(_worst_images(ground_truth, proposals, load_image, images))}</div>',
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html>\n<html><head>{head}</head><body>\n{chr(10).join(sections)}\n</body></html>\n"


def _level_section(levels: dict[int, dict[str, float]]) -> list[str]:
    if not levels:
        return []
    names = list(next(iter(levels.values())))
    return [
        "<h2>By level</h2><p>Of the first N proposals of every image, the share that comes from a level; average "
        "recall when a level's proposals are the whole list.</p>",
        _table(
            ("", *names),
            [(level_name(level), *(_number(row[name]) for name in names)) for level, row in levels.items()],
        ),
    ]


def _level_keys(levels: dict[int, dict[str, float]]) -> str:
    """The colours of the levels that occur; of a list without levels the one colour that it has."""
    if not levels:
        return _key("proposal", "yellow")
    return ", ".join(_key(f"level-{level}" if level else "proposal", level_name(level)) for level in levels)


def _key(kind: str, text: str) -> str:
    return f'<b class="key {kind}">{text}</b>'


def _worst_images(
    ground_truth: GroundTruth, proposals: Predictions, load_image: LoadImage, images: int
) -> Iterable[str]:
    found, objects = found_per_image(ground_truth, proposals, BUDGET)
    everything = np.ones((1, len(ground_truth.xywh)), bool)
    ranks = match_ranks(ground_truth, proposals, BUDGET, LOOSE, everything)[0, 0]
    for number in np.argsort(found - objects, kind="stable")[:images]:
        image_id = ground_truth.image_ids[number]
        rows = range(int(ground_truth.starts[number]), int(ground_truth.starts[number + 1]))
        missed = sum(ranks[row] == NEVER for row in rows if ground_truth.counted[row])
        share = found[number] / objects[number] if objects[number] else math.nan
        caption = (
            f"{html.escape(str(image_id))}: AR@{BUDGET} {_number(share)}, {missed} of {objects[number]} objects "
            f"missed, {len(proposals[image_id])} proposals"
        )
        boxes = _object_boxes(ground_truth, proposals, image_id, rows, ranks)
        picture = _picture(load_image(image_id), ground_truth.sizes[number], boxes)
        yield f"<figure>{picture}<figcaption>{caption}</figcaption></figure>\n"


def _object_boxes(
    ground_truth: GroundTruth, proposals: Predictions, image_id: ImageId, rows: Sequence[int], ranks: np.ndarray
) -> Iterable[str]:
    """SVG rectangles of an image's objects and of the proposals that found them."""
    boxes, levels = proposals[image_id].xywh[:BUDGET], proposals[image_id].levels[:BUDGET]
    for row in rows:
        best = overlaps(boxes, ground_truth.xywh[row : row + 1]).max(initial=0.0)
        name = ground_truth.class_names[ground_truth.classes[row]]
        if not ground_truth.counted[row]:
            yield _rectangle(ground_truth.xywh[row], "ignored", f"{name}, ignored")
        elif ranks[row] == NEVER:
            yield _rectangle(ground_truth.xywh[row], "edge")
            yield _rectangle(ground_truth.xywh[row], "missed", f"{name}, missed; greatest IoU {best:.2f}")
        else:
            level = int(levels[ranks[row]])
            kind, text = "proposal", f"proposal {ranks[row] + 1}"
            if level:
                kind, text = f"proposal level-{level}", f"{text}, {level_name(level)}"
            yield _rectangle(ground_truth.xywh[row], "edge")
            yield _rectangle(boxes[ranks[row]], kind, text)
            yield _rectangle(
                ground_truth.xywh[row], "found", f"{name}, found by proposal {ranks[row] + 1}; greatest IoU {best:.2f}"
            )


def _picture(image: np.ndarray | None, size: np.ndarray, boxes: Iterable[str]) -> str:
    height, width = image.shape[:2] if image is not None else np.nan_to_num(size, nan=500.0)
    inside = "".join(boxes)
    if image is not None:
        inside = f'<image href="{_data_uri(image)}" width="{width}" height="{height}"/>{inside}'
    else:
        inside = f'<text x="10" y="30">no picture</text>{inside}'
    return f'<svg class="picture" viewBox="0 0 {width:.0f} {height:.0f}">{inside}</svg>'


def _rectangle(xywh: np.ndarray, kind: str, text: str = "") -> str:
    x, y, width, height = (f"{value:.1f}" for value in xywh)
    tip = f"<title>{html.escape(text)}</title>"
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}">{tip}</rect>'


def _data_uri(image: np.ndarray) -> str:
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _inline_svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Cells are escaped unless they are already `_Markup`."""
    lines = ["".join(f"<th>{html.escape(str(cell))}</th>" for cell in head)]
    lines += ["".join(f"<td>{c if isinstance(c, _Markup) else html.escape(str(c))}</td>" for c in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>\n" for line in lines) + "</table>"


class _Markup(str):
    """HTML that must not be escaped."""


def _bar(value: float) -> _Markup:
    return _Markup("" if math.isnan(value) else f'<span class="bar" style="width: {200 * value:.0f}px"></span>')


def _number(value: float) -> str:
    return "no such object" if math.isnan(value) else f"{value:.4f}"
