"""`zip-keras benchmark_evaluation`: how much faster protocol `fast` is than pycocotools, and that it agrees."""

import argparse
import resource
import sys
import time

import numpy as np

from zip_keras.cli._options import in_range
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.predictions.container import Predictions, to_xywh

DESCRIPTION = (
    "Times protocols fast and coco on made-up proposals, turn by turn on the same images so that a busy machine slows "
    "both, and compares every number."
)
EXAMPLES = """\
  zip-keras benchmark_evaluation
  zip-keras benchmark_evaluation --images 5000 --proposals 1000        # some minutes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive = in_range(int, low=1)
    parser.add_argument("--images", type=positive, default=100, metavar="N", help="default: 100")
    parser.add_argument("--proposals", type=positive, default=1000, metavar="N", help="an image (default: 1000)")
    parser.add_argument(
        "--objects",
        type=in_range(float, low=0),
        default=7.3,
        metavar="MEAN",
        help="an image, on average (default: 7.3, as in COCO val)",
    )
    parser.add_argument(
        "--turn",
        type=positive,
        default=250,
        metavar="N",
        help="images measured before the other protocol has its turn (default: 250)",
    )
    parser.add_argument("--seed", type=in_range(int, low=0), default=0, help="default: 0")


def run(arguments: argparse.Namespace) -> None:
    rng = np.random.default_rng(arguments.seed)
    # First, before pycocotools has raised the peak: everything at once.
    truth, proposals = made_up(rng, arguments.images, arguments.objects, arguments.proposals)
    held, before = sum(part.xywh.nbytes + part.scores.nbytes for part in proposals) / 2**20, _peak_memory()
    started = time.perf_counter()
    average_recall(truth, proposals, "fast")
    print(f"{arguments.images} images x {arguments.proposals} proposals, {len(truth.xywh)} objects")
    all_at_once, working = time.perf_counter() - started, _peak_memory() - before
    print(f"  fast, all at once: {all_at_once:.2f} s, {working:.0f} MiB on top of {held:.0f} MiB of boxes and scores")
    seconds = {"fast": 0.0, "coco": 0.0}
    differences = 0
    for first in range(0, arguments.images, arguments.turn):
        images = min(arguments.turn, arguments.images - first)
        truth, proposals = made_up(rng, images, arguments.objects, arguments.proposals)
        numbers = {}
        for protocol in seconds:
            started = time.perf_counter()
            numbers[protocol] = average_recall(truth, proposals, protocol)
            seconds[protocol] += time.perf_counter() - started
        pairs = zip(*(result.values() for result in numbers.values()), strict=True)
        differences += sum(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    print(f"  in turns of {arguments.turn} images: fast {seconds['fast']:.2f} s, coco {seconds['coco']:.2f} s")
    print(f"  coco / fast = {seconds['coco'] / seconds['fast']:.0f}; numbers that differ: {differences}")


def made_up(
    rng: np.random.Generator, images: int, objects: float, proposals: int, side: float = 640.0
) -> tuple[GroundTruth, Predictions]:
    """Objects of all sizes on `side` x `side` images; half of the proposals lie near objects, half anywhere."""
    truth_boxes, found = [], Predictions("made up")
    for image_id in range(images):
        boxes = _boxes(rng, int(rng.poisson(objects)), side)
        near = boxes[rng.integers(0, len(boxes), proposals // 2)] if len(boxes) else np.zeros((0, 4))
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
        found.add(image_id, candidates.astype(np.float32), rng.random(proposals).astype(np.float32))
        truth_boxes.append(boxes.astype(np.float32))
    xywh = to_xywh(np.concatenate(truth_boxes))
    count = len(xywh)
    truth = GroundTruth(
        spec="made up",
        class_names=("object",),
        category_ids=(1,),
        image_ids=tuple(range(images)),
        sizes=np.full((images, 2), side),
        starts=np.cumsum([0, *map(len, truth_boxes)]),
        xywh=xywh,
        areas=xywh[:, 2] * xywh[:, 3],
        classes=np.zeros(count, np.int32),
        crowd=rng.random(count) < 0.02,
        difficult=rng.random(count) < 0.05,
    )
    return truth, found


def _boxes(rng: np.random.Generator, count: int, side: float) -> np.ndarray:
    """`[count, 4]` `[y1, x1, y2, x2]`, sides from 8 to 500 pixels, as often small as large."""
    size = np.exp(rng.uniform(np.log(8), np.log(500), (count, 2)))
    corner = rng.random((count, 2)) * (side - size)
    return np.concatenate([corner, corner + size], axis=1)


def _peak_memory() -> float:
    """MiB that the process has held at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux, bytes on macOS
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
