"""The commands by group and their parsers."""

import argparse
import importlib
from typing import NoReturn

from zip_keras.cli._options import add_global_arguments
from zip_keras.errors import UserError

# Each command is a module of zip_keras.cli. It is imported on demand, because TensorFlow takes seconds to import.
GROUPS = {
    "data": {
        "prepare_data": "check annotated images and write them as TFRecords",
    },
    "train": {
        "train": "train a network from a config or the default recipe",
        "boost": "replace a detector's class scores by AdaBoost",
        "measure": "measure a trained run: recall, parameters, GFLOPs, time",
        "ablate": "train and measure a table of configs with several seeds",
        "plot_runs": "draw the training curves of runs",
        "demo": "train, measure and export on rendered scenes, in minutes",
    },
    "predict": {
        "propose": "write the proposals of images to a file, draw pictures",
        "detect": "write the detections of images or a video, draw them",
        "presets": "list the trained models of the package, show a card",
        "calibrate": "choose the score biases of a model's levels",
        "attention": "draw the map attention of a network on images",
        "baseline": "write proposals of Selective Search and other baselines",
        "benchmark_prediction": "time the parts of prediction on one image",
    },
    "measure": {
        "evaluate": "measure proposals against ground truth",
        "compare": "compare prediction files: table, curves, significance",
        "convert_proposals": "convert a proposal file to another format",
        "benchmark_evaluation": "compare time and results of fast with pycocotools",
    },
    "export": {
        "export": "write a SavedModel, a .keras file and other formats",
        "convert_weights": "convert PyTorch or ONNX weights to a weights file",
    },
    "serve": {
        "serve": "serve a local web page to try a model",
        "client": "request predictions from a server by gRPC or REST",
        "batch": "predict on many images with Apache Beam",
    },
    "shell": {
        "completion": "print the completion script of a shell",
    },
}
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}


class CommandParser(argparse.ArgumentParser):
    """An argparse parser that raises `UserError`, so that errors are one line as for other bad input."""

    def error(self, message: str) -> NoReturn:
        # Turn "argument --top: must be ..." into "--top must be ..."
        name, colon, reason = message.removeprefix("argument ").partition(": must be ")
        raise UserError(f"{name}{' must be ' if colon else ''}{reason}; see {self.prog} --help")

    @property
    def option_names(self) -> list[str]:
        """All option names, for example `--model` and `-q`."""
        return [name for action in self._actions for name in action.option_strings]


def build_parser(name: str) -> CommandParser:
    """Build the parser of a command with its description and examples."""
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
    """Build the parser of the options before the command name. The remaining words are parsed by the command."""
    parser = CommandParser(prog="zip-keras", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    add_global_arguments(parser)
    parser.add_argument("command", nargs="?")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def command_name(word: str) -> str:
    """Normalize a command name: `plot-runs` becomes `plot_runs`."""
    return word.replace("-", "_")


def overview() -> str:
    """The help text with all commands by group."""
    width = max(map(len, COMMANDS))
    groups = "\n\n".join(
        f"{title}\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in group.items())
        for title, group in GROUPS.items()
    )
    return f"""\
usage: zip-keras [-q | -v] [--device DEVICE] COMMAND [options]

Object proposals and detection with Zoom Out-and-In networks.

{groups}

zip-keras help COMMAND    options and examples (also zip-keras COMMAND --help)
zip-keras --version       versions of zip-keras, TensorFlow and Keras
-q, --quiet               print only results and errors
-v, --verbose             also print TensorFlow's messages and error tracebacks
--device DEVICE           cpu, gpu, or gpu:N for GPU number N"""
