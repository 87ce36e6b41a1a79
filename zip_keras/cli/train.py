"""`zip-keras train`: train a network from a config."""

import argparse
import shlex
from pathlib import Path

from zip_keras.cli._output import command_line
from zip_keras.cli._paths import check_output_folder
from zip_keras.config import ExperimentConfig
from zip_keras.config.files import FINETUNING, config_text, read_config
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.presets import weights_file
from zip_keras.utils.startup import start_tensorflow

RUNS = Path("runs")  # parent folder of runs without --run-dir

DESCRIPTION = f"""\
Trains a proposal network or a detector. All files of the run are written into its run folder.

Without --config the default preset is fine-tuned on your photographs (configs/finetune.yaml); name the images with
data.train, and other images with data.val. Without --run-dir the run goes into {RUNS}/NAME, where NAME is the config's,
or into {RUNS}/NAME-2, {RUNS}/NAME-3, ... if that exists already.

--run-dir DIR --resume continues the stopped run in DIR. On several machines, start the same command on each with
TF_CONFIG set, --run-dir, and train.strategy=multi_worker."""
EXAMPLES = """\
  zip-keras train data.train=my_devkit:train data.val=my_devkit:val
  zip-keras train --config configs/bccd.yaml --run-dir runs/bccd
  zip-keras train --run-dir runs/bccd --resume
  zip-keras train --config configs/bccd.yaml --run-dir runs/small model.width=0.25 train.steps=500
  zip-keras train --config configs/bccd.yaml --print-config"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="experiment config, see configs/ (default: fine-tuning, configs/finetune.yaml)"
    )
    parser.add_argument("--run-dir", metavar="DIR", help="folder of the run (default: a new folder in runs/)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --run-dir with its own config; with --config, start the run if there is none",
    )
    parser.add_argument("--print-config", action="store_true", help="print the complete config and exit")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values that replace the config's")


def run(arguments: argparse.Namespace) -> None:
    file = _config_file(arguments)
    config = read_config(file, arguments.overrides)
    if arguments.print_config:
        print(config_text(config), end="")
        return
    run_dir = arguments.run_dir or _new_folder(file, config)
    _check(config, run_dir)
    start_tensorflow(arguments.device)
    from zip_keras.training.run import train

    result = train(config, str(run_dir), arguments.resume)
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in result.items())
    print(f"{run_dir}: trained to step {config.train.steps}" + (f"; validation: {numbers}" if numbers else ""))
    print("next:\n" + "\n".join(f"  {line}" for line in next_commands(Path(run_dir), config)))


def next_commands(run_dir: Path, config: ExperimentConfig) -> list[str]:
    """Suggested commands for the trained model, in the form in which this program was started."""
    data = config.data.val or config.data.train
    proposals = run_dir / "proposals.json"
    lines: list[tuple] = [
        ("propose", data, "--model", run_dir, "--output", proposals, "--pictures", run_dir / "pictures")
    ]
    if config.data.val:
        skip = () if config.data.on_defect == "error" else ("--on-bad-object", config.data.on_defect)
        lines.append(("evaluate", "--ground-truth", data, "--proposals", proposals, *skip))
    lines.append(("export", "--model", run_dir, "--output", Path("exported") / run_dir.name))
    return [f"{command_line(name)} {shlex.join(map(str, words))}" for name, *words in lines]


def _config_file(arguments: argparse.Namespace) -> Path:
    if arguments.config:
        return Path(arguments.config)
    if not arguments.resume:
        return FINETUNING
    if not arguments.run_dir:
        raise UserError("--resume needs the folder of the run: --run-dir runs/NAME")
    saved = Path(arguments.run_dir) / "config.yaml"
    if not saved.is_file():
        raise UserError(f"{arguments.run_dir}: holds no run to resume; name another folder, or leave out --resume")
    return saved


def _new_folder(config_file: Path, config: ExperimentConfig) -> Path:
    """`runs/NAME`, or the first unused of `runs/NAME-2`, `runs/NAME-3`, ..."""
    if config.train.strategy == "multi_worker":
        raise UserError("train.strategy=multi_worker needs --run-dir DIR, the same on every machine")
    name, number = config_file.stem, 1
    while (folder := RUNS / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _check(config: ExperimentConfig, run_dir: str | Path) -> None:
    """Check the inputs and the run folder before TensorFlow is loaded.

    Raises:
        UserError: the images or weights do not exist, or the run folder cannot be written.
    """
    check_output_folder("--run-dir", run_dir)
    if not config.data.train:
        raise UserError("data.train is empty; name your images, for example data.train=my_devkit:train")
    for spec in filter(None, (config.data.train, config.data.val)):
        open_dataset(spec, on_defect=config.data.on_defect)
    weights = config.train.weights and weights_file(config.train.weights)
    if weights and not Path(weights).exists():
        raise UserError(f"train.weights {weights}: no such file or preset")
