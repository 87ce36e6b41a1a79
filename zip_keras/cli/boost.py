"""`zip-keras boost`: replace a detector's class scores by AdaBoost on the features of its second stage."""

import argparse
import contextlib
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.cli import _options
from zip_keras.cli._paths import check_input_file, check_output_file
from zip_keras.data.records import Dataset
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.inference.model_files import find_model
from zip_keras.predictions.unfinished import files_of
from zip_keras.utils.environment import versions
from zip_keras.utils.locks import FolderLock
from zip_keras.utils.optional import optional_import
from zip_keras.utils.progress import BUILDING, note, with_progress
from zip_keras.utils.startup import start_tensorflow

if TYPE_CHECKING:
    from zip_keras.models.detector import Detector
    from zip_keras.training.roi_features import FeatureStore

DESCRIPTION = """\
Boosts a two-stage detector. AdaBoost learns the classes from the features that every block of the head computes for an
RoI, and its votes replace the network's scores. The written model holds the ensemble as tensors: detect, export and
keras.models.load_model accept it like any detector. Only this command needs scikit-learn (pip install
'zip-keras[boost]').

The features are stored in a folder while the images are read. The same command continues from there if stopped."""
EXAMPLES = """\
  zip-keras boost runs/bccd_two_stage --data data/bccd:train --output runs/bccd_two_stage/boosted.keras
  zip-keras boost runs/voc07 --data data/voc07:train --output boosted.keras --features features/ --trees 500 --depth 10
  zip-keras detect data/bccd:test --model runs/bccd_two_stage/boosted.keras --output boosted.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    positive = _options.in_range(int, low=1)
    parser.add_argument(
        "model", metavar="MODEL", help="run folder, .keras file or exported folder of a two-stage detector"
    )
    parser.add_argument("--output", required=True, metavar="FILE.keras", help="the boosted detector")
    parser.add_argument(
        "--seed", type=_options.in_range(int, low=0), default=0, metavar="N", help="random seed (default: 0)"
    )
    group = parser.add_argument_group("RoIs")
    group.add_argument("--data", required=True, metavar="DATA", help="training images, a data set spec")
    group.add_argument("--images", type=positive, metavar="N", help="only the first N images (default: all)")
    group.add_argument("--rois", type=positive, default=64, metavar="N", help="RoIs sampled per image (default: 64)")
    share = _options.in_range(float, low=0, high=1)
    group.add_argument(
        "--positive-iou",
        type=share,
        default=0.6,
        metavar="U",
        help="minimum IoU of an RoI with its object (default: 0.6)",
    )
    group.add_argument(
        "--negative-iou",
        type=share,
        default=0.4,
        metavar="U",
        help="RoIs below this IoU are background; RoIs in between are not sampled (default: 0.4)",
    )
    group.add_argument(
        "--proposals", metavar="FILE", help="proposal file of these images, instead of the detector's own proposals"
    )
    group.add_argument(
        "--features",
        metavar="DIR",
        help="folder for the features, kept for reuse (default: beside the output, removed at the end)",
    )
    group.add_argument("--on-defect", choices=["error", "skip", "clip"], default="error", help="invalid annotations")
    group = parser.add_argument_group("AdaBoost")
    group.add_argument(
        "--trees", type=positive, default=100, metavar="N", help="maximum number of trees (default: 100)"
    )
    group.add_argument(
        "--depth", type=_options.in_range(int, low=1, high=12), default=8, help="depth of the trees (default: 8)"
    )
    group.add_argument(
        "--learning-rate",
        type=_options.in_range(float, low=1e-6),
        default=0.5,
        metavar="R",
        help="AdaBoost's learning rate (default: 0.5)",
    )
    group.add_argument(
        "--max-features",
        choices=["sqrt", "log2", "all"],
        default="sqrt",
        help="features considered per split; all takes much longer (default: sqrt)",
    )
    group.add_argument(
        "--network-share",
        type=share,
        default=1e-3,
        metavar="S",
        help="weight of the network's score in the sum with the votes; a small weight only breaks ties, 0.5 is the "
        "mean of both (default: 0.001, as in the paper)",
    )


def run(arguments: argparse.Namespace) -> None:
    output = Path(arguments.output)
    if output.suffix != ".keras":
        raise UserError(f"--output {output}: the name must end in .keras")
    check_output_file("--output", output)
    model = find_model(arguments.model)
    optional_import("sklearn", "zip-keras boost", "boost")
    if arguments.proposals:
        check_input_file("--proposals", arguments.proposals)
    start_tensorflow(arguments.device)
    from zip_keras.inference.detectors import load_keras_detector

    detector = load_keras_detector(model)
    dataset = open_dataset(arguments.data, classes=detector.class_names, on_defect=arguments.on_defect)
    dataset = dataclasses.replace(dataset, records=dataset.records[: arguments.images])
    from zip_keras.inference.given_proposals import given_proposals_of
    from zip_keras.training.roi_features import compile_roi_features, store_features

    features_of = compile_roi_features(detector, arguments.rois, arguments.positive_iou, arguments.negative_iou)
    count = detector.network.detector_config.targets.proposals
    given = given_proposals_of(arguments.proposals, dataset, count) if arguments.proposals else None
    folder = Path(arguments.features or output.with_name(f".{output.name}.features"))
    with FolderLock(folder):
        store = _open_store(arguments, detector, dataset, model, folder)
        if store.images < len(dataset):
            store_features(
                store,
                features_of,
                dataset.records,
                arguments.seed,
                given,
                lambda items: with_progress(items, len(dataset), first=BUILDING, done=store.images),
            )
        _fit(arguments, detector, dataset, store, output)
        if not arguments.features:
            store.remove()
    if not arguments.features:
        with contextlib.suppress(OSError):
            folder.rmdir()  # the folder is empty unless the user put files into it


def _open_store(
    arguments: argparse.Namespace, detector: "Detector", dataset: Dataset, model: Path, folder: Path
) -> "FeatureStore":
    from zip_keras.training.roi_features import FeatureStore

    made_by = {
        "model": files_of(model),
        "data": dataset.digest(),
        "rois": arguments.rois,
        "ious": [arguments.positive_iou, arguments.negative_iou],
        "seed": arguments.seed,
        "proposals": files_of(arguments.proposals) if arguments.proposals else None,
    }
    store = FeatureStore(folder, detector.network.roi_head.num_features, made_by)
    if store.images:
        note(f"{folder}: {store.images} of {len(dataset)} images are already done")
    return store


def _fit(
    arguments: argparse.Namespace, detector: "Detector", dataset: Dataset, store: "FeatureStore", output: Path
) -> None:
    from zip_keras.training.boosting import BoostOptions, fit_ensemble

    features, classes = store.arrays()
    counts = np.bincount(classes, minlength=len(detector.class_names) + 1).tolist()
    by_class = dict(zip(("background", *detector.class_names), counts, strict=True))
    note(f"fitting {arguments.trees} trees to {len(classes)} RoIs with {store.num_features} features each ...")
    names = ("trees", "depth", "learning_rate", "max_features", "network_share", "seed")
    options = BoostOptions(**{name: getattr(arguments, name) for name in names})
    record = {
        "data": arguments.data,
        "images": len(dataset),
        "rois": by_class,
        "ious": [arguments.positive_iou, arguments.negative_iou],
        "proposals": arguments.proposals,
        "options": dataclasses.asdict(options),
        "versions": {**versions(), "scikit-learn": optional_import("sklearn", "boosting", "boost").__version__},
    }
    started = time.perf_counter()
    ensemble = fit_ensemble(features, classes, detector.class_names, options, record)
    seconds = time.perf_counter() - started
    _save(detector.with_options(ensemble=ensemble), output)
    print(f"{output}: {ensemble.num_trees} trees of depth {ensemble.depth}, fitted in {seconds:.1f} s")
    print(f"  RoIs of {len(dataset)} images: " + ", ".join(f"{count} {name}" for name, count in by_class.items()))
    if ensemble.num_trees < options.trees:
        print(f"  AdaBoost stopped after {ensemble.num_trees} trees; lower --depth for more")
    if arguments.features:
        print(f"  features: {store.folder}")


def _save(detector: "Detector", output: Path) -> None:
    """Write the model atomically and create its folder if it is missing."""
    from zip_keras.inference.keras_file import save_keras_file

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror or error}") from None
    save_keras_file(detector, output)
