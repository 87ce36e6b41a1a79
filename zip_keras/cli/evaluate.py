"""`zip-keras evaluate`: evaluate a file of proposals or detections against ground truth."""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._evaluate_detections import DETECTION_PROTOCOLS, detection_details, measure_detections
from zip_keras.cli._output import in_words, print_columns, print_numbers, save_figure, without_nan, write_json
from zip_keras.cli._paths import check_input_file, check_output_file, check_picture
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import PROTOCOLS, average_recall
from zip_keras.evaluation.checks import Checked, check_categories, load_predictions
from zip_keras.evaluation.curves import class_groups, groups_of_classes, recall_curves, recall_of_groups
from zip_keras.evaluation.ground_truth import GroundTruth, numbered_categories
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.evaluation.per_level import level_name, per_level, refuse_without_levels
from zip_keras.predictions.container import ImageId, Predictions
from zip_keras.utils.files import atomic_write

DESCRIPTION = """\
Average recall of proposals, or average precision of detections, from files.

  --proposals    coco     AR of pycocotools, class-agnostic, mean over IoU .5:.05:.95 (default)
                 fast     the same numbers to the last bit, many times faster, without pycocotools
                 hosang   one-to-one, best IoU first, AR = 2 * integral of recall over IoU .5 to 1
  --detections   coco-ap  the twelve numbers of COCO, by pycocotools (default)
                 fast-ap  the same numbers to the last bit, faster, without pycocotools
                 voc07    VOC AP at IoU .5, 11 points
                 voc12    VOC AP at IoU .5, every point

Objects of an image without proposals count as missed. Difficult objects and crowds are ignored.
The class of a detection is its category_id: that of the COCO json, else class number + 1.
--error-kinds prints the kinds of error of detections and their cost, as TIDE does: classification, localisation, both,
duplicate, background, missed."""
EXAMPLES = """\
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json
  zip-keras evaluate --ground-truth instances_val.json --proposals proposals.json --protocol fast --json result.json
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json --report report.html --gallery gallery.jpg
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json --protocol fast --per-level
  zip-keras evaluate --ground-truth data/voc07:val --detections detections.json --protocol voc07
  zip-keras evaluate --ground-truth data/voc07:val --detections detections.json --error-kinds --by-class --plot ap.png
  zip-keras evaluate --ground-truth data/voc07:val --proposals proposals.json --protocol fast --unseen cow sofa
"""
# Options for only one of the two kinds of file.
_OF_PROPOSALS = {"gallery": "is for proposals", "per_level": "is for proposals"}
_OF_DETECTIONS = {"error_kinds": "is for detections"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ground-truth", required=True, metavar="DATA", help="DEVKIT:SPLIT, instances.json or another data set spec"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--proposals", metavar="FILE", help=_options.PROPOSAL_FILE)
    what.add_argument("--detections", metavar="FILE", help="the same, with classes in category_id")
    parser.add_argument("--protocol", choices=(*PROTOCOLS, *DETECTION_PROTOCOLS), help="protocol, see above")
    parser.add_argument(
        "--per-level",
        action="store_true",
        help="also print each level's share of the first 10, 100, 1000 proposals, and AR of its proposals alone",
    )
    parser.add_argument(
        "--error-kinds",
        action="store_true",
        help="also print errors of detections by kind, and the AP50 gained without each kind",
    )
    parser.add_argument("--by-class", action="store_true", help="also print AR@100 or AP of each class")
    _options.add_class_split_arguments(parser)
    parser.add_argument(
        "--json", metavar="FILE", help="also write the numbers to this file; null = no object of that size"
    )
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="write recall curves, or precision-recall curves with the kinds of error: .png, .svg or .pdf",
    )
    parser.add_argument("--report", metavar="FILE.html", help="write a page with curves, classes and the worst images")
    positive = _options.in_range(int, low=1)
    parser.add_argument(
        "--report-images", type=positive, default=24, metavar="N", help="images in the page (default: 24)"
    )
    parser.add_argument(
        "--gallery",
        metavar="FILE",
        help="draw images at even steps of the ranking by recall, with their first ten proposals: .jpg, .png",
    )
    parser.add_argument("--gallery-images", type=positive, default=12, metavar="N", help="images drawn (default: 12)")
    _options.add_read_arguments(parser)
    _options.add_policy_arguments(parser)
    _options.add_category_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    file = arguments.proposals or arguments.detections
    protocol = _protocol(arguments)
    check_input_file("", file)
    for option in ("json", "report", "gallery", "plot"):
        check_output_file(f"--{option}", getattr(arguments, option))
    read, policy = _options.read_options(arguments), _options.bad_box_policy(arguments)
    ground_truth = read_ground_truth(arguments.ground_truth, arguments.on_bad_object, arguments.pixels)
    if not ground_truth.counted.any():
        raise UserError(f"{arguments.ground_truth}: no object to find, so recall is not defined; name another split")
    split = _options.class_split(arguments, ground_truth)
    if arguments.category_ids == "numbers":
        ground_truth = numbered_categories(ground_truth)
    checked = load_predictions(file, ground_truth, policy, read)
    if arguments.detections:
        check_categories(checked, ground_truth, arguments.on_unknown_class)
    if arguments.per_level:
        refuse_without_levels(checked.proposals)
    started = time.perf_counter()
    numbers = measure(ground_truth, checked.proposals, protocol)
    seconds = time.perf_counter() - started
    facts = describe(ground_truth, checked)
    print(f"{file} on {arguments.ground_truth}, protocol {protocol} ({seconds:.1f} s)")
    what = "proposals" if arguments.proposals else "detections"
    shown = {name.replace("_", " ").replace("proposals", what): in_words(value) for name, value in facts.items()}
    for name, words in shown.items():
        print(f"  {name}: {words}")
    print_numbers(numbers)
    details = _recall_details if arguments.proposals else detection_details
    more = details(arguments, ground_truth, checked.proposals, split, protocol)
    if arguments.json:
        content = {"protocol": protocol, **without_nan(numbers), **facts}
        write_json(arguments.json, {**content, "ground_truth": arguments.ground_truth, "file": file, **more})
    if arguments.report or arguments.gallery:
        title = f"{file} on {arguments.ground_truth}, protocol {protocol}"
        _write_pictures(arguments, title, numbers, shown, ground_truth, checked.proposals)


def _protocol(arguments: argparse.Namespace) -> str:
    what, other = ("--proposals", "--detections") if arguments.proposals else ("--detections", "--proposals")
    for name, purpose in (_OF_DETECTIONS if arguments.proposals else _OF_PROPOSALS).items():
        if getattr(arguments, name):
            raise UserError(f"--{name.replace('_', '-')} {purpose}; give the file with {other}")
    if arguments.gallery:
        check_picture("--gallery", arguments.gallery, (".jpg", ".jpeg", ".png"))
    if arguments.plot:
        check_picture("--plot", arguments.plot, (".png", ".svg", ".pdf"))
    choices = PROTOCOLS if arguments.proposals else tuple(DETECTION_PROTOCOLS)
    protocol = arguments.protocol or choices[0]
    if protocol not in choices:
        raise UserError(f"--protocol {protocol} does not measure {what}; choose one of {', '.join(choices)}")
    return protocol


def measure(ground_truth: GroundTruth, proposals: Predictions, protocol: str) -> dict[str, float]:
    """Compute the metrics of a protocol for proposals or detections."""
    if protocol in PROTOCOLS:
        return average_recall(ground_truth, proposals, protocol)
    return measure_detections(ground_truth, proposals, protocol)


def _recall_details(
    arguments: argparse.Namespace,
    ground_truth: GroundTruth,
    proposals: Predictions,
    split: dict[str, tuple[str, ...]],
    protocol: str,
) -> dict[str, Any]:
    """Print and plot the requested details, and return them for the json."""
    result: dict[str, Any] = {}
    if arguments.per_level:
        levels = per_level(ground_truth, proposals, protocol)
        print("  each level's share of the proposals, and average recall of its proposals alone")
        print_columns({level_name(level): row for level, row in levels.items()})
        result["levels"] = {str(level): without_nan(row) for level, row in levels.items()}
    if split:
        groups = groups_of_classes(ground_truth, split)
        result["seen_unseen"] = _print_groups("by classes", ground_truth, proposals, groups, (10, 100))
    if arguments.by_class:
        result["classes"] = _print_groups("by class", ground_truth, proposals, class_groups(ground_truth), (100,))
    if arguments.plot:
        from zip_keras.plots.recall import recall_figure

        save_figure(arguments.plot, recall_figure([recall_curves(ground_truth, proposals)]))
    return result


def _print_groups(
    title: str,
    ground_truth: GroundTruth,
    proposals: Predictions,
    groups: dict[str, np.ndarray],
    budgets: tuple[int, ...],
) -> dict[str, dict[str, float | None]]:
    recall = recall_of_groups(ground_truth, proposals, groups, budgets)
    rows = {
        name: {"objects": int((members & ground_truth.counted).sum())}
        | {f"AR@{budget}": value for budget, value in recall[name].items()}
        for name, members in groups.items()
    }
    print(f"  {title}, protocol fast (equal to coco)")
    print_columns(rows)
    return {name: without_nan(row) for name, row in rows.items()}


def describe(ground_truth: GroundTruth, checked: Checked) -> dict[str, Any]:
    """Counts of evaluated and skipped images, objects and proposals."""
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
    facts: dict[str, str],
    ground_truth: GroundTruth,
    proposals: Predictions,
) -> None:
    """Write the report and the gallery if they are requested."""
    load_image = _picture_loader(arguments.ground_truth)
    if arguments.report:
        from zip_keras.plots.detection_report import detection_report
        from zip_keras.plots.recall_report import recall_report

        report = recall_report if arguments.proposals else detection_report
        page = report(title, numbers, facts, ground_truth, proposals, load_image, arguments.report_images)
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
    """Return a function from an image id to its pixels; it returns None for missing images, which reports tolerate."""
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
