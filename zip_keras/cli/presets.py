"""`zip-keras presets`: list the trained models of the package, show a model card, or save a new preset."""

import argparse
from pathlib import Path

from zip_keras.cli import _options
from zip_keras.cli._paths import check_output_folder
from zip_keras.errors import UserError
from zip_keras.inference.model_files import is_detector
from zip_keras.presets import FOLDER, class_names, list_presets, model_card
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Lists the trained models that ship with the package, or prints the card of one (data, recipe, results, licence, known
failures; for a detector also the numbers and names of its classes). Every command accepts a preset's name as a model:
propose --model NAME, detect --model NAME, export --model NAME.
--save stores a trained model as a preset, with its options and its weights in float16."""
EXAMPLES = """\
  zip-keras presets
  zip-keras presets zip_lite
  zip-keras presets mine --save runs/mine --description "blood cells, 3 classes" --folder zip_keras/presets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="preset; print its card")
    parser.add_argument("--save", metavar="MODEL", help="run folder, .keras file or export to store as preset NAME")
    parser.add_argument("--description", metavar="TEXT", help="with --save: one line about the model")
    parser.add_argument("--folder", metavar="DIR", help="with --save: folder of the presets (default: in the package)")
    _options.add_inference_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    if arguments.save:
        _save(arguments)
    elif arguments.name:
        print(model_card(arguments.name))
        if names := class_names(arguments.name):
            print("## Classes\n\n" + ", ".join(f"{number} {name}" for number, name in enumerate(names, 1)))
    else:
        for name, description in list_presets().items():
            print(f"{name}: {description}")


def _save(arguments: argparse.Namespace) -> None:
    if not arguments.name or not arguments.description:
        raise UserError("--save needs the preset's name and --description")
    folder = Path(arguments.folder or FOLDER) / arguments.name
    options = _options.inference_options(arguments)
    if of_detector := is_detector(arguments.save):
        _options.refuse_options_of_proposers(arguments.save, options)
    check_output_folder("--folder", folder)
    start_tensorflow(arguments.device)
    from zip_keras.inference.loading import load_keras_proposer
    from zip_keras.models.detector import Detector
    from zip_keras.models.proposer import Proposer
    from zip_keras.presets import save_preset

    if of_detector:
        model: Proposer | Detector = _options.load_detector(arguments.save, options)
    else:
        model = options.apply(load_keras_proposer(arguments.save))
    save_preset(model, folder, arguments.description)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    print(f"{folder}: {model.network.count_params() / 1e6:.2f} M weights, {size:.1f} MB; write its card.md")
