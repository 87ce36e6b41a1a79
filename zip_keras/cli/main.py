"""Finds the command, parses its arguments, and turns a `UserError` into one line on standard error."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from zip_keras.errors import UserError

# One module of zip_keras.cli each, imported only when it is asked for: TensorFlow takes seconds to import.
COMMANDS = {
    "demo": "the whole way on rendered scenes, in minutes",
    "train": "train a network from a config",
    "measure": "measure a trained run: recall, parameters, GFLOPs, time",
    "ablate": "train and measure a table of configs with several seeds",
    "plot_runs": "draw the training curves of runs",
    "propose": "write the proposals of images",
    "calibrate": "choose the score biases of a model's levels",
    "attention": "draw what map attention decides on images, and how it differs between them",
    "presets": "list the trained models of the package",
    "evaluate": "measure proposals against ground truth",
    "baseline": "proposals of methods that need no training: Selective Search, windows, anchors",
    "compare": "compare proposal files: table, curves, how sure the differences are",
    "convert_proposals": "turn a proposal file into json, npz, parquet, Detectron2 or MATLAB form",
    "benchmark_prediction": "time the parts of prediction on one image",
    "benchmark_evaluation": "time protocol fast against pycocotools and compare every number",
    "prepare_data": "turn annotated images into TFRecords, with a report of every defect",
    "export": "write a SavedModel and a .keras file",
    "convert_weights": "turn a PyTorch state dict of a backbone into a weights file",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, 2 for bad input, 130 when interrupted.

    Args:
        arguments: the command's name and its arguments; `sys.argv[1:]` when None.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    name, rest = arguments[0].replace("-", "_"), arguments[1:]
    if name not in COMMANDS:
        print(f"error: unknown command {arguments[0]!r}\n\n{_overview()}", file=sys.stderr)
        return 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes would bury the progress bar
    command = importlib.import_module(f"zip_keras.cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"zip-keras {name}",
        description=command.DESCRIPTION,
        epilog=f"examples:\n{command.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    try:
        command.run(parser.parse_args(rest))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, `head` for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return f"usage: zip-keras COMMAND [options]      zip-keras COMMAND --help\n\n{rows}"
