"""Evaluation of a finished run: `result.json` holds its config, accuracy and cost."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from zip_keras.config import ExperimentConfig, to_dict
from zip_keras.config.files import read_config
from zip_keras.data.records import ImageRecord
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.average_precision import fast_average_precision
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import GroundTruth, from_dataset
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.inference.calibration_images import refuse_calibration_images
from zip_keras.inference.model_files import find_model, stored_calibration
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions
from zip_keras.training.environment_file import read_starts
from zip_keras.training.metrics_file import METRICS_FILE, read_metrics
from zip_keras.utils.environment import machine, versions
from zip_keras.utils.files import atomic_write

PROTOCOLS: dict[str, tuple[str, Callable[[GroundTruth, Predictions], dict[str, float]]]] = {
    "proposals": ("fast", average_recall),
    "detections": ("fast-ap", fast_average_precision),
}
RESULT_FILE = "result.json"

Progress = Callable[[Iterable[ImageRecord], int], Iterable[ImageRecord]]


def measure_run(
    run_dir: str | Path,
    data: str,
    size: tuple[int, int] | None = None,
    repeats: int = 20,
    progress: Progress = lambda items, total: items,
    prepare: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Evaluate a run on a dataset: average recall of its proposals or AP of its detections, and its cost.

    Writes `result.json`, and `proposals.npz` or `detections.npz`. A second stage that was trained on a proposal file
    classifies the proposals of `data.val_proposals`.

    Args:
        run_dir: folder of a trained run; `best.keras` is evaluated if it exists, otherwise `last.keras`.
        data: spec of the dataset; the run's `data.on_defect` applies to its defects.
        size: height and width in pixels for the cost; None: the config's `data.short_side` x `data.long_side`.
        repeats: number of timed forward passes.
        progress: wraps the records in a progress bar; its second argument is their number.
        prepare: called after paths and files are checked, before TensorFlow is used.

    Returns:
        The content of `result.json`: `config`, `seed`, `data`, `protocol`, `accuracy` (metrics; None if the data has no
        object of a size), `images`, `objects`, `boxes`, `max_boxes`, `model`, `short_sides` (of the scales), `digests`,
        `cost` (of one scale, without the head of a second stage), `training`, `date`, `machine`, `versions`.

    Raises:
        UserError: the run or the data is missing or broken, or the model was calibrated on some of these images.
    """
    run_dir = Path(run_dir)
    config = read_config(run_dir / "config.yaml")
    ground_truth = read_ground_truth(data, config.data.on_defect)
    if not ground_truth.counted.any():
        raise UserError(f"{data}: no object to find: recall is not defined; name another split")
    dataset = open_dataset(data, on_defect=config.data.on_defect)
    records = dataset.records
    file = find_model(run_dir)
    refuse_calibration_images(stored_calibration(file), records)

    prepare()
    from zip_keras.analysis.cost import WARM_UP, measure_cost

    if config.detector.kind == "none":
        model, found = _proposals(file, records, progress)
    else:
        model, found, ground_truth = _detections(config, file, data, progress)
    cost = measure_cost(model.network, *(size or (config.data.short_side, config.data.long_side)), repeats)
    write_predictions(str(run_dir / f"{found.name}.npz"), found)
    protocol, measure = PROTOCOLS[found.name]
    numbers = measure(ground_truth, found)
    training_images = (read_starts(run_dir) or [{}])[-1].get("images")
    result = {
        "config": to_dict(config),
        "seed": config.train.seed,
        "data": data,
        "protocol": protocol,
        "accuracy": {name: None if value != value else value for name, value in numbers.items()},
        "images": len(ground_truth),
        "objects": int(ground_truth.counted.sum()),
        "boxes": found.count,
        "max_boxes": model.postprocess_config.output_size,
        "model": file.name,
        "short_sides": list(model.short_sides),
        "digests": {"training": training_images, "test": dataset.digest()},
        "cost": {
            "height": cost.height,
            "width": cost.width,
            "parameters": cost.parameters,
            "gflops": cost.gflops,
            "milliseconds": cost.milliseconds,
            "timed": f"median of {cost.repeats} forward passes of the network after {WARM_UP}, one image, float32",
        },
        "training": training_speed(run_dir, config.train.batch_size),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
    }
    with atomic_write(str(run_dir / RESULT_FILE)) as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _proposals(file: Path, records: Sequence[ImageRecord], progress: Progress) -> tuple[Any, Predictions]:
    from zip_keras.inference.loading import load_keras_proposer
    from zip_keras.inference.runner import InferenceRunner, propose_records

    model = load_keras_proposer(file)
    return model, propose_records(InferenceRunner(model), progress(records, len(records)), "proposals")


def _detections(
    config: ExperimentConfig, file: Path, data: str, progress: Progress
) -> tuple[Any, Predictions, GroundTruth]:
    """Detect on a dataset; the returned ground truth uses the model's classes, which a split may lack."""
    from zip_keras.inference.detectors import compile_detector, detect_records, load_keras_detector
    from zip_keras.inference.given_proposals import given_proposals_of

    model = load_keras_detector(file)
    dataset = open_dataset(data, classes=model.class_names, on_defect=config.data.on_defect)
    given = None
    if config.data.val_proposals:
        given = given_proposals_of(config.data.val_proposals, dataset, config.postprocess.max_proposals)
    records = progress(dataset.records, len(dataset.records))
    found = detect_records(compile_detector(model), records, "detections", given)
    return model, found, from_dataset(dataset)


def training_speed(run_dir: str | Path, batch_size: int) -> dict[str, float]:
    """Training speed of a run, from its `metrics.jsonl`.

    Returns:
        `{"steps", "images_per_second", "seconds"}`: the median speed of the log lines, and the time of all steps at
        that speed. Building and tracing the network, interruptions and evaluations are excluded.

    Raises:
        UserError: the file is missing, or contains no line of training.
    """
    lines = read_metrics(run_dir)
    speeds = [float(line["images_per_second"]) for line in lines if "images_per_second" in line]
    steps = max((line["step"] for line in lines), default=0)
    if not speeds:
        file = Path(run_dir) / METRICS_FILE
        raise UserError(f"{file}: no line of training in it; let the run reach train.log_every steps")
    speed = statistics.median(speeds)
    return {"steps": steps, "images_per_second": speed, "seconds": steps * batch_size / speed}


def read_result(run_dir: str | Path) -> dict[str, Any] | None:
    """Read the result of `measure_run` from a run folder; None if it does not exist.

    Raises:
        UserError: the file is broken.
    """
    file = Path(run_dir) / RESULT_FILE
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        missing = {"config", "seed", "data", "accuracy", "cost", "training", "date", "machine", "versions"} - set(
            result
        )
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); delete it and measure again") from None
    if missing:
        raise UserError(f"{file}: lacks {', '.join(sorted(missing))}; delete it and measure again")
    return result
