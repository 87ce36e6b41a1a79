"""`zip-keras measure`: measure a trained run and write the numbers to a file."""

import argparse
from pathlib import Path

from zip_keras.cli._options import in_range
from zip_keras.cli._output import print_numbers
from zip_keras.cli._paths import check_output_folder
from zip_keras.experiments.measure import RESULT_FILE, measure_run
from zip_keras.utils.progress import with_progress
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Measures a trained run on a data set: average recall of a proposal network (protocol fast, equal to coco) or AP of a
detector (fast-ap, equal to coco-ap); parameters, GFLOPs and the time of a forward pass at one input size, without the
head of a second stage. Writes result.json and proposals.npz or detections.npz into the run folder; `zip-keras ablate`
builds its tables from these files. GFLOPs are twice the multiply-adds of convolutions and dense layers."""
EXAMPLES = """\
  zip-keras measure runs/bccd --data data/bccd:test
  zip-keras measure runs/bccd --data data/bccd:test --size 320 448"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", help="run folder of zip-keras train")
    parser.add_argument("--data", required=True, metavar="DATA", help="data set spec, for example data/bccd:test")
    parser.add_argument(
        "--size",
        type=in_range(int, low=1),
        nargs=2,
        metavar=("H", "W"),
        help="input size for GFLOPs and time (default: short and long side of the run's config)",
    )
    parser.add_argument(
        "--repeats",
        type=in_range(int, low=1),
        default=20,
        metavar="N",
        help="number of timed forward passes (default: 20)",
    )


def run(arguments: argparse.Namespace) -> None:
    check_output_folder("", arguments.run_dir)
    size = tuple(arguments.size) if arguments.size else None
    result = measure_run(
        arguments.run_dir,
        arguments.data,
        size,
        arguments.repeats,
        with_progress,
        prepare=lambda: start_tensorflow(arguments.device),
    )
    cost, training = result["cost"], result["training"]
    print(f"{arguments.run_dir} ({result['model']}) on {result['data']}, protocol {result['protocol']}")
    print_numbers(result["accuracy"])
    print(
        f"  {cost['parameters'] / 1e6:.2f} M parameters; at {cost['height']} x {cost['width']}: {cost['gflops']:.2f} "
        f"GFLOPs, {cost['milliseconds']:.1f} ms ({cost['timed']})"
    )
    print(f"  {training['steps']} steps at {training['images_per_second']:.1f} images/s")
    print(f"  written: {Path(arguments.run_dir) / RESULT_FILE}")
