"""`zip-keras evaluate`: measures a proposal file against ground truth."""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._output import in_words, print_numbers, without_nan, write_json
from zip_keras.cli._paths import check_input_file, check_output_file
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import PROTOCOLS, average_recall
from zip_keras.evaluation.checks import Checked, load_predictions
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.evaluation.per_level import level_name, per_level, refuse_without_levels
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.evaluation.voc import voc_average_precision
from zip_keras.predictions.container import ImageId, Predictions
from zip_keras.utils.files import atomic_write

DETECTION_PROTOCOLS: dict[str, Callable[[GroundTruth, Predictions], dict[str, float]]] = {
    "coco-ap": coco_average_precision,
    "voc07": functools.partial(voc_average_precision, points="eleven"),
    "voc12": functools.partial(voc_average_precision, points="every"),
}

DESCRIPTION = """\
Average recall of proposals, or average precision of detections, from files.

  --proposals    coco     AR of pycocotools, class-agnostic, mean over IoU .5:.05:.95 (default)
                 fast     the same numbers to the last bit, many times faster, without pycocotools
                 hosang   one-to-one, best IoU first, AR = 2 * integral of recall over IoU .5 to 1
  --detections   coco-ap  the twelve numbers of COCO, by pycocotools (default)
                 voc07    VOC AP at IoU .5, 11 points
                 voc12    VOC AP at IoU .5, every point

An image without proposals still counts its objects. Difficult objects and crowds are ignored: neither missed nor wrong.
Detections name their class by category_id: that of the COCO json, else 1 + the number of the class."""
EXAMPLES = """\
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json
  zip-keras evaluate --ground-truth instances_val.json --proposals proposals.json --protocol fast --json result.json
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json --report report.html --gallery gallery.jpg
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json --protocol fast --per-level
  zip-keras evaluate --ground-truth data/voc07:val --detections detections.json --protocol voc07
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ground-truth", required=True, metavar="DATA", help="DEVKIT:SPLIT, instances.json or another data set spec"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--proposals", metavar="FILE", help=_options.PROPOSAL_FILE)
    what.add_argument("--detections", metavar="FILE", help="the same with classes in category_id")
    parser.add_argument("--protocol", choices=(*PROTOCOLS, *DETECTION_PROTOCOLS), help="see above")
    parser.add_argument(
        "--per-level",
        action="store_true",
        help="also, for each level of the network: its share of the first 10, 100, 1000 proposals, and AR of its "
        "proposals alone",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here; null = no object of that size")
    parser.add_argument("--report", metavar="FILE.html", help="write curves, classes and the worst images as one page")
    positive = _options.in_range(int, low=1)
    parser.add_argument("--report-images", type=positive, default=24, metavar="N", help="images in it (default: 24)")
    parser.add_argument(
        "--gallery",
        metavar="FILE",
        help="draw images, from the best found to the worst at even steps, with their first ten proposals: .jpg, .png",
    )
    parser.add_argument("--gallery-images", type=positive, default=12, metavar="N", help="images in it (default: 12)")
    _options.add_read_arguments(parser)
    _options.add_policy_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    file = arguments.proposals or arguments.detections
    protocol = _protocol(arguments)
    check_input_file("", file)
    for option in ("json", "report", "gallery"):
        check_output_file(f"--{option}", getattr(arguments, option))
    read, policy = _options.read_options(arguments), _options.bad_box_policy(arguments)
    ground_truth = read_ground_truth(arguments.ground_truth, arguments.on_bad_object, arguments.pixels)
    if not ground_truth.counted.any():
        raise UserError(f"{arguments.ground_truth}: no object to find: recall is not defined; name another split")
    checked = load_predictions(file, ground_truth, policy, read)
    if arguments.per_level:
        refuse_without_levels(checked.proposals)
    started = time.perf_counter()
    numbers = measure(ground_truth, checked.proposals, protocol)
    levels = per_level(ground_truth, checked.proposals, protocol) if arguments.per_level else {}
    seconds = time.perf_counter() - started
    facts = describe(ground_truth, checked)
    print(f"{file} on {arguments.ground_truth}, protocol {protocol} ({seconds:.1f} s)")
    for name, value in facts.items():
        print(f"  {name.replace('_', ' ')}: {in_words(value)}")
    print_numbers(numbers)
    print_levels(levels)
    if arguments.json:
        content = {"protocol": protocol, **without_nan(numbers), **facts}
        content |= {"ground_truth": arguments.ground_truth, "file": file}
        if levels:
            content["levels"] = {str(level): without_nan(row) for level, row in levels.items()}
        write_json(arguments.json, content)
    if arguments.report or arguments.gallery:
        title = f"{file} on {arguments.ground_truth}, protocol {protocol}"
        _write_pictures(arguments, title, numbers, facts, ground_truth, checked.proposals)


def _protocol(arguments: argparse.Namespace) -> str:
    choices = PROTOCOLS if arguments.proposals else tuple(DETECTION_PROTOCOLS)
    protocol = arguments.protocol or choices[0]
    for name in ("report", "gallery"):
        if getattr(arguments, name) and not arguments.proposals:
            raise UserError(f"--{name} shows recall of proposals; give the file with --proposals")
    if arguments.gallery and not arguments.gallery.lower().endswith((".jpg", ".jpeg", ".png")):
        raise UserError(f"--gallery {arguments.gallery}: name a .jpg or .png file")
    if arguments.per_level and not arguments.proposals:
        raise UserError("--per-level tells proposals apart; give the file with --proposals")
    if protocol not in choices:
        what = "--proposals" if arguments.proposals else "--detections"
        raise UserError(f"--protocol {protocol} does not measure {what}; choose one of {', '.join(choices)}")
    return protocol


def measure(ground_truth: GroundTruth, proposals: Predictions, protocol: str) -> dict[str, float]:
    """The numbers of a protocol, of proposals or of detections."""
    if protocol in PROTOCOLS:
        return average_recall(ground_truth, proposals, protocol)
    return DETECTION_PROTOCOLS[protocol](ground_truth, proposals)


def describe(ground_truth: GroundTruth, checked: Checked) -> dict[str, Any]:
    """What was measured and what was left out."""
    return {
        "images": len(ground_truth),
        "images_without_proposals": checked.images_without_proposals,
        "objects": int(ground_truth.counted.sum()),
        "skipped_annotations": ground_truth.skipped,
        "ignored_objects": int((~ground_truth.counted).sum()),
        "proposals": checked.proposals.count,
        "skipped": dict(checked.skipped),
    }


def _write_pictures(
    arguments: argparse.Namespace,
    title: str,
    numbers: dict[str, float],
    facts: dict[str, Any],
    ground_truth: GroundTruth,
    proposals: Predictions,
) -> None:
    """The report and the gallery, as far as they are asked for."""
    load_image = _picture_loader(arguments.ground_truth)
    if arguments.report:
        from zip_keras.plots.recall_report import recall_report

        shown = {name: in_words(value) for name, value in facts.items()}
        page = recall_report(title, numbers, shown, ground_truth, proposals, load_image, arguments.report_images)
        with atomic_write(arguments.report) as unfinished:
            unfinished.write_text(page, encoding="utf-8")
        print(f"  report: {arguments.report}")
    if arguments.gallery:
        from zip_keras.plots.gallery import gallery

        picture = gallery(ground_truth, proposals, load_image, arguments.gallery_images)
        with atomic_write(arguments.gallery) as unfinished:
            picture.save(unfinished, "PNG" if arguments.gallery.lower().endswith(".png") else "JPEG", quality=88)
        print(f"  gallery: {arguments.gallery}")


def _picture_loader(spec: str) -> Callable[[ImageId], np.ndarray | None]:
    """Pictures of a data set; None for those that are not there: a report without pictures is still a report."""
    from zip_keras.data.checks.images import decode_with_pillow
    from zip_keras.data.encoded import read_encoded
    from zip_keras.data.sources import open_dataset

    try:
        records = {r.image_id: r for r in open_dataset(spec, on_defect="skip", need_images=False).records}
    except UserError as error:
        print(f"no pictures: {error}", file=sys.stderr)
        records = {}

    def load(image_id: ImageId) -> np.ndarray | None:
        try:
            record = records[image_id]
            return decode_with_pillow(read_encoded(record.file, record.offset, record.length), record.file)
        except (KeyError, UserError):
            return None

    return load


def print_levels(levels: dict[int, dict[str, float]]) -> None:
    """A row a level, a column a number, as `per_level` names them."""
    if not levels:
        return
    names = list(next(iter(levels.values())))
    print("  each level's share of the proposals, and average recall of its proposals alone")
    print("             " + "".join(f"{name:>11}" for name in names))
    for level, row in levels.items():
        cells = ("-" if math.isnan(row[name]) else f"{row[name]:.4f}" for name in names)
        print(f"  {level_name(level):<11}" + "".join(f"{cell:>11}" for cell in cells))
