"""The commands by group, and their parsers."""

import argparse
import importlib
from typing import NoReturn

from zip_keras.cli._options import add_global_arguments
from zip_keras.errors import UserError

# One module of zip_keras.cli each, imported only when it is asked for: TensorFlow takes seconds to import.
GROUPS = {
    "data": {
        "prepare_data": "check annotated images and write them as TFRecords, with a report of every defect",
    },
    "train": {
        "train": "train a network, from a config or from the default recipe",
        "boost": "replace a detector's class scores by AdaBoost on its features",
        "measure": "measure a trained run: recall, parameters, GFLOPs, time",
        "ablate": "train and measure a table of configs with several seeds",
        "plot_runs": "draw the training curves of runs",
        "demo": "train, measure and export on rendered scenes, in minutes",
    },
    "predict": {
        "propose": "write the proposals of images, as a file and as pictures",
        "detect": "write the objects of images with their classes, as a file and as pictures",
        "presets": "list the trained models of the package, show a model card",
        "calibrate": "choose the score biases of a model's levels",
        "attention": "draw the map attention of a network on images",
        "baseline": "proposals without training: Selective Search, sliding windows, random anchors",
        "benchmark_prediction": "time the parts of prediction on one image",
    },
    "measure": {
        "evaluate": "measure proposals against ground truth",
        "compare": "compare proposal files: table, curves, significance of the differences",
        "convert_proposals": "convert a proposal file between json, npz, parquet, csv, Detectron2 and MATLAB",
        "benchmark_evaluation": "time protocol fast against pycocotools and compare every number",
    },
    "export": {
        "export": "write a SavedModel and a .keras file",
        "convert_weights": "convert a PyTorch state dict of a backbone into a weights file",
    },
    "serve": {
        "serve": "open a local page on which to try a model",
        "client": "ask a server for the boxes of images, by gRPC or REST, without TensorFlow",
        "batch": "predict many images on Apache Beam, into shards of parquet",
    },
    "shell": {
        "completion": "print the completion script of a shell",
    },
}
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}


class CommandParser(argparse.ArgumentParser):
    """An argparse parser whose errors are `UserError`s: one line, as all bad input."""

    def error(self, message: str) -> NoReturn:
        # "argument --top: must be ..." reads better without its first word and colon
        name, colon, reason = message.removeprefix("argument ").partition(": must be ")
        raise UserError(f"{name}{' must be ' if colon else ''}{reason}; see {self.prog} --help")

    @property
    def option_names(self) -> list[str]:
        """`--model`, `-q`, ..."""
        return [name for action in self._actions for name in action.option_strings]


def build_parser(name: str) -> CommandParser:
    """The parser of a command, `prog` and examples included."""
    command = importlib.import_module(f"zip_keras.cli.{name}")
    parser = CommandParser(
        prog=f"zip-keras {name}",
        description=command.DESCRIPTION,
        epilog=f"examples:\n{command.EXAMPLES.rstrip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    add_global_arguments(parser)
    return parser


def program_parser() -> CommandParser:
    """The parser of what comes before the command's name; the rest goes to the command."""
    parser = CommandParser(prog="zip-keras", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    add_global_arguments(parser)
    parser.add_argument("command", nargs="?")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def command_name(word: str) -> str:
    """`plot-runs` is `plot_runs`."""
    return word.replace("-", "_")


def overview() -> str:
    """The commands by group."""
    width = max(map(len, COMMANDS))
    groups = "\n\n".join(
        f"{title}\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in group.items())
        for title, group in GROUPS.items()
    )
    return f"""\
usage: zip-keras [-q | -v] [--device DEVICE] COMMAND [options]

Object proposals and detection with Zoom Out-and-In networks.

{groups}

zip-keras help COMMAND    options and examples of a command; also zip-keras COMMAND --help
zip-keras --version       versions of zip-keras, TensorFlow and Keras
-q, --quiet               write results, errors and nothing else
-v, --verbose             also show TensorFlow's own messages, and the traceback of an error
--device DEVICE           cpu, gpu, or gpu:N for the GPU of that number"""
