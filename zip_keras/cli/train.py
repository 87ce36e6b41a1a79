"""`zip-keras train`: trains a network from a config."""

import argparse

from zip_keras.config.files import config_text, read_config
from zip_keras.errors import UserError

DESCRIPTION = """\
Trains a proposal network from a config; everything of the run is written into its run folder.

Stop it when you like: the same command with --resume goes on with the same run. On several machines start it on each
with TF_CONFIG set and train.strategy=multi_worker."""
EXAMPLES = """\
  zip-keras train --config configs/bccd.yaml --run-dir runs/bccd
  zip-keras train --config configs/bccd.yaml --run-dir runs/bccd --resume
  zip-keras train --config configs/bccd.yaml --run-dir runs/small model.width=0.25 train.steps=500
  zip-keras train --config configs/bccd.yaml --print-config"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="experiment; configs/ holds them")
    parser.add_argument("--run-dir", metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder, if there is one")
    parser.add_argument("--print-config", action="store_true", help="print the whole experiment and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the config's")


def run(arguments: argparse.Namespace) -> None:
    config = read_config(arguments.config, arguments.overrides)
    if arguments.print_config:
        print(config_text(config), end="")
        return
    if not arguments.run_dir:
        raise UserError("name the folder of the run: --run-dir runs/NAME")
    if not arguments.config:
        raise UserError("name an experiment: --config configs/NAME.yaml")
    from zip_keras.training.run import train

    result = train(config, arguments.run_dir, arguments.resume)
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in result.items())
    print(
        f"{arguments.run_dir}: trained to step {config.train.steps}" + (f"; validation: {numbers}" if numbers else "")
    )
