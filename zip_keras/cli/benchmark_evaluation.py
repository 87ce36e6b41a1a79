"""`zip-keras benchmark_evaluation`: compare the speed and results of our protocols with pycocotools."""

import argparse
import functools
import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from zip_keras.cli._options import in_range
from zip_keras.evaluation.average_precision import fast_average_precision
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.predictions.container import Predictions, to_xywh

DESCRIPTION = (
    "Times protocols fast and coco on made-up proposals, or fast-ap and coco-ap on made-up detections, and compares\n"
    "every number. The protocols alternate on the same images, so that load on the machine slows both."
)
EXAMPLES = """\
  zip-keras benchmark_evaluation
  zip-keras benchmark_evaluation --images 5000 --proposals 1000        # some minutes
  zip-keras benchmark_evaluation --images 1000 --proposals 30 --classes 80
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive = in_range(int, low=1)
    parser.add_argument("--images", type=positive, default=100, metavar="N", help="number of images (default: 100)")
    parser.add_argument(
        "--proposals", type=positive, default=1000, metavar="N", help="proposals per image (default: 1000)"
    )
    parser.add_argument(
        "--objects",
        type=in_range(float, low=0),
        default=7.3,
        metavar="MEAN",
        help="mean number of objects per image (default: 7.3, as in COCO val)",
    )
    parser.add_argument(
        "--classes", type=positive, metavar="N", help="measure average precision of detections with N classes"
    )
    parser.add_argument(
        "--turn",
        type=positive,
        default=250,
        metavar="N",
        help="number of images per turn of a protocol (default: 250)",
    )
    parser.add_argument("--seed", type=in_range(int, low=0), default=0, help="random seed (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    rng = np.random.default_rng(arguments.seed)
    # The run on all images is first, because pycocotools would raise the peak memory.
    sizes = (arguments.objects, arguments.proposals, arguments.classes or 1)
    measures: dict[str, Callable[[GroundTruth, Predictions], dict[str, float]]]
    if arguments.classes is None:
        measures = {name: functools.partial(average_recall, protocol=name) for name in ("fast", "coco")}
    else:
        measures = {"fast-ap": fast_average_precision, "coco-ap": coco_average_precision}
    fast, reference = measures
    truth, proposals = made_up(rng, arguments.images, *sizes)
    held, before = sum(part.xywh.nbytes + part.scores.nbytes for part in proposals) / 2**20, _peak_memory()
    started = time.perf_counter()
    measures[fast](truth, proposals)
    of_classes = f" of {arguments.classes} classes" if arguments.classes else ""
    print(f"{arguments.images} images x {arguments.proposals} proposals, {len(truth.xywh)} objects{of_classes}")
    all_at_once, working = time.perf_counter() - started, _peak_memory() - before
    print(f"  {fast}, all at once: {all_at_once:.2f} s, {working:.0f} MiB on top of {held:.0f} MiB of boxes and scores")
    seconds = dict.fromkeys(measures, 0.0)
    differences = 0
    for first in range(0, arguments.images, arguments.turn):
        images = min(arguments.turn, arguments.images - first)
        truth, proposals = made_up(rng, images, *sizes)
        numbers = {}
        for protocol, measure in measures.items():
            started = time.perf_counter()
            numbers[protocol] = measure(truth, proposals)
            seconds[protocol] += time.perf_counter() - started
        pairs = zip(*(result.values() for result in numbers.values()), strict=True)
        differences += sum(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    turns = ", ".join(f"{protocol} {time:.2f} s" for protocol, time in seconds.items())
    print(f"  in turns of {arguments.turn} images: {turns}")
    print(f"  {reference} / {fast} = {seconds[reference] / seconds[fast]:.0f}; numbers that differ: {differences}")


def made_up(
    rng: np.random.Generator, images: int, objects: float, proposals: int, classes: int = 1, side: float = 640.0
) -> tuple[GroundTruth, Predictions]:
    """Random objects of all sizes on `side` x `side` images. Half of the proposals are near objects, half anywhere.

    With several classes, half of the proposals near an object have its class; all others have a random class.
    """
    truth_boxes, truth_classes, found = [], [], Predictions("made up")
    for image_id in range(images):
        boxes = _boxes(rng, int(rng.poisson(objects)), side)
        of_image = rng.integers(0, classes, len(boxes))
        chosen = rng.integers(0, max(len(boxes), 1), proposals // 2 if len(boxes) else 0)
        near = boxes[chosen]
        size = np.tile(near[:, 2:] - near[:, :2], 2)
        near = near + rng.normal(0, 0.12, near.shape) * size
        candidates = np.concatenate([near, _boxes(rng, proposals - len(near), side)])
        candidates = np.stack(
            [
                *np.minimum(candidates[:, :2], candidates[:, 2:]).T,
                *np.maximum(candidates[:, :2], candidates[:, 2:]).T + 1,
            ],
            axis=1,
        )
        categories = 1 + rng.integers(0, classes, proposals)
        categories[: len(near) // 2] = 1 + of_image[chosen[: len(near) // 2]]
        scores = rng.random(proposals).astype(np.float32)
        found.add_xywh(image_id, to_xywh(candidates.astype(np.float32)), scores, categories)
        truth_boxes.append(boxes.astype(np.float32))
        truth_classes.append(of_image)
    xywh = to_xywh(np.concatenate(truth_boxes))
    count = len(xywh)
    truth = GroundTruth(
        spec="made up",
        class_names=tuple(map(str, range(classes))),
        category_ids=tuple(range(1, classes + 1)),
        image_ids=tuple(range(images)),
        sizes=np.full((images, 2), side),
        starts=np.cumsum([0, *map(len, truth_boxes)]),
        xywh=xywh,
        areas=xywh[:, 2] * xywh[:, 3],
        classes=np.concatenate(truth_classes).astype(np.int32),
        crowd=rng.random(count) < 0.02,
        difficult=rng.random(count) < 0.05,
    )
    return truth, found


def _boxes(rng: np.random.Generator, count: int, side: float) -> np.ndarray:
    """Random boxes `[count, 4]` `[y1, x1, y2, x2]` with log-uniform sides from 8 to 500 pixels."""
    size = np.exp(rng.uniform(np.log(8), np.log(500), (count, 2)))
    corner = rng.random((count, 2)) * (side - size)
    return np.concatenate([corner, corner + size], axis=1)


def _peak_memory() -> float:
    """Peak memory of the process in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux, bytes on macOS
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
