"""`zip-keras plot_runs`: loss and validation recall of runs as a picture."""

import argparse

DESCRIPTION = "Draws the training loss and the validation AR@100 of one or several runs over their steps."
EXAMPLES = "  zip-keras plot_runs runs/bccd runs/small --output curves.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--output", required=True, metavar="FILE.png", help="picture, by its suffix PNG, SVG or PDF")


def run(arguments: argparse.Namespace) -> None:
    from zip_keras.plots.training_curve import plot_runs

    plot_runs(arguments.runs, arguments.output)
    print(arguments.output)
