"""`zip-keras calibrate`: choose the score biases of a model's levels on a calibration split."""

import argparse
import dataclasses
from pathlib import Path

from zip_keras.cli import _options
from zip_keras.cli._paths import check_output_file
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.inference.model_files import find_model
from zip_keras.predictions.unfinished import files_of
from zip_keras.utils.environment import note_environment
from zip_keras.utils.progress import BUILDING, with_progress
from zip_keras.utils.startup import start_tensorflow

DESCRIPTION = """\
Chooses a score bias for each level (fine, middle, coarse) by cross-validation, so that average recall on a calibration
split is highest, and writes the model with these biases. The biases are zero if they do not help on held-out folds.
The model stores digests of its calibration images, and propose refuses these images, because results on them would be
too good. Calibrate with the scales and the flip option of the intended use."""
EXAMPLES = """\
  zip-keras calibrate --model runs/voc07 --data data/voc07:calibration --output runs/voc07/calibrated.keras
  zip-keras calibrate --model runs/voc07 --data calibration.json --images 100 --budget 300 --multi-scale \\
      --output calibrated.keras
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    _options.add_model_argument(parser)
    parser.add_argument("--data", required=True, metavar="DATA", help="calibration split, a data set spec")
    parser.add_argument("--output", required=True, metavar="FILE.keras", help="calibrated model to write")
    positive = _options.in_range(int, low=1)
    parser.add_argument("--images", type=positive, metavar="N", help="only the first N images (default: all)")
    parser.add_argument("--budget", type=positive, default=100, metavar="N", help="proposals per image (default: 100)")
    parser.add_argument(
        "--folds",
        type=_options.in_range(int, low=2),
        default=4,
        metavar="K",
        help="number of cross-validation folds (default: 4)",
    )
    parser.add_argument("--on-defect", choices=["error", "skip", "clip"], default="error", help="invalid annotations")
    _options.add_inference_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    if not arguments.output.endswith(".keras"):
        raise UserError(f"--output {arguments.output}: the name must end in .keras")
    check_output_file("--output", arguments.output)
    options = _options.inference_options(arguments)
    model = files_of(find_model(arguments.model))
    dataset = open_dataset(arguments.data, on_defect=arguments.on_defect)
    dataset = dataclasses.replace(dataset, records=dataset.records[: arguments.images])
    start_tensorflow(arguments.device)
    from zip_keras.inference.calibration import calibrate, calibrated
    from zip_keras.inference.loading import load_keras_proposer

    proposer = options.apply(load_keras_proposer(arguments.model))
    found = calibrate(
        proposer,
        dataset,
        arguments.budget,
        arguments.folds,
        progress=lambda records: with_progress(records, len(records), first=BUILDING),
    )
    output = Path(arguments.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    calibrated(proposer, dataset, found).save(output)
    made_by = {name: getattr(arguments, name) for name in ("data", "budget", "folds", "on_defect")}
    made_by |= {"model": model, "options": dataclasses.asdict(options), "images": dataset.digest()}
    note_environment(output, made_by)
    print(f"{output}: level biases {', '.join(f'{bias:+.2f}' for bias in found.bias)}")
    print(f"  AR@{found.budget} on {found.images} images of {arguments.data}, protocol fast:")
    print(f"    without biases          {found.before:.4f}")
    print(f"    with, on held-out folds {found.held_out:.4f}")
    print(f"    with, where chosen      {found.after:.4f}")
    if not any(found.bias):
        print("  biases did not help on held-out folds, so they are zero")
