"""`zip-keras plot_runs`: plot loss and validation recall of runs."""

import argparse
from pathlib import Path

from zip_keras.cli._paths import check_output_file
from zip_keras.utils.optional import optional_import

DESCRIPTION = "Draws the training loss and the validation AR@100 of one or more runs over the training steps."
EXAMPLES = "  zip-keras plot_runs runs/bccd runs/small --output curves.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--output", required=True, metavar="FILE.png", help="picture to write: .png, .svg or .pdf")


def run(arguments: argparse.Namespace) -> None:
    check_output_file("--output", arguments.output)
    optional_import("matplotlib", "zip-keras plot_runs", "train")
    from zip_keras.plots.training_curve import plot_runs
    from zip_keras.training.metrics_file import read_metrics

    names = [Path(run).name for run in arguments.runs]
    names = names if len(set(names)) == len(names) else arguments.runs
    plot_runs({name: read_metrics(run) for name, run in zip(names, arguments.runs, strict=True)}, arguments.output)
    print(arguments.output)
