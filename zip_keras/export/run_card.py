"""The model card of a training run, from the files in its folder. Without TensorFlow."""

import re
from pathlib import Path
from typing import Any

from zip_keras.config import ExperimentConfig, from_dict
from zip_keras.errors import UserError
from zip_keras.inference.model_files import RUN_FILES, find_model
from zip_keras.training.environment_file import read_starts
from zip_keras.training.metrics_file import METRICS_FILE, read_metrics, selecting_metric
from zip_keras.utils.reading import read_yaml

CONFIG_FILE = "config.yaml"


def run_card(model: str | Path) -> str | None:
    """Describe the run that saved a model: data, recipe, results and environment, as Markdown.

    The results are those of the run's own evaluations; nothing is measured again. The last section lists what a run
    does not record. Absolute paths are shortened to their last part.

    Args:
        model: a run folder, or its `best.keras` or `last.keras`.

    Returns:
        The card; None if the model is not a file of a run.

    Raises:
        UserError: the model does not exist, or a file of the run cannot be read.
    """
    file = find_model(model)
    folder = file.parent
    if file.name not in RUN_FILES or not (folder / CONFIG_FILE).is_file():
        return None
    try:
        config: ExperimentConfig = from_dict(ExperimentConfig, read_yaml(folder / CONFIG_FILE))
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / CONFIG_FILE}: not the config of a run ({error})") from None
    starts = read_starts(folder)
    lines = read_metrics(folder) if (folder / METRICS_FILE).is_file() else []
    what = "Class-agnostic object proposals" if config.detector.kind == "none" else "Object detection"
    parts = [
        f"# {folder.resolve().name}",
        f"{what}. `{file.name}` of a run of `zip-keras train`.",
        "## Data",
        _table([["training", _shown(config.data.train)], ["validation", _shown(config.data.val)], *_digest(starts)]),
        "## Recipe",
        _table(_recipe(config, lines)),
        "## Results",
        _results(file.name, config, lines),
        "## Environment",
        _table(_environment(starts)) if starts else "The run has no `environment.json`.",
        "## Not recorded",
        "The licence of the training data, the limits of the data, and known failures.",
    ]
    return "\n\n".join(parts) + "\n"


def _digest(starts: list[dict[str, Any]]) -> list[list[str]]:
    return [["digest of the training images and boxes", f"`{starts[-1]['images']}`"]] if _has(starts, "images") else []


def _recipe(config: ExperimentConfig, lines: list[dict[str, Any]]) -> list[list[str]]:
    model, train = config.model, config.train
    done = max((line["step"] for line in lines), default=0)
    rows = [
        ["network", f"backbone {model.backbone}, width {model.width:g}, merge {model.merge}"],
        ["detector", config.detector.kind],
        ["start", _shown(train.weights or "random weights")],
        ["steps", f"{done:,} of {train.steps:,}, {train.batch_size} images each"],
        ["optimizer", f"{train.optimizer}, learning rate {train.learning_rate:g}, schedule {train.schedule}"],
        ["moving average of the weights", f"decay {train.ema:g}" if train.ema else "none"],
        ["arithmetic", train.dtype],
        ["seed", f"{train.seed}"],
    ]
    return [row for row in rows if row != ["detector", "none"]]


def _results(name: str, config: ExperimentConfig, lines: list[dict[str, Any]]) -> str:
    """The evaluation of the saved weights: the newest for `last.keras`, the one of highest metric for `best.keras`."""
    metric = selecting_metric(config)
    evaluations = [line for line in lines if metric in line]
    if not evaluations:
        return "The run has no evaluation."
    same = [line for line in evaluations if line.get("measured") == evaluations[-1].get("measured")]
    chosen = same[-1] if name == "last.keras" else max(same, key=lambda line: line[metric])  # the first of ties
    numbers = {key: value for key, value in chosen.items() if key[:2] in ("AR", "AP") and isinstance(value, float)}
    images = f"the first {config.train.evaluate_images}" if config.train.evaluate_images else "all"
    sides = config.data.test_short_sides or (config.data.short_side,)
    how = f"Step {chosen['step']:,}, {images} validation images, short side {', '.join(map(str, sides))} pixels."
    if name == "best.keras":
        how += f" These weights were chosen among {len(same)} evaluations by {metric} on the same images."
    return f"{how}\n\n{_table([[key, f'{value:.3f}'] for key, value in numbers.items()])}"


def _environment(starts: list[dict[str, Any]]) -> list[list[str]]:
    newest = starts[-1]
    rows = [["starts", f"{len(starts)}"], ["time of the first start", str(starts[0].get("time", "not recorded"))]]
    rows += [[key, str(newest[key])] for key in ("python", "machine", "cores") if key in newest]
    if isinstance(newest.get("versions"), dict):
        rows.append(["packages", ", ".join(f"{name} {version}" for name, version in newest["versions"].items())])
    return rows


def _has(starts: list[dict[str, Any]], key: str) -> bool:
    return bool(starts) and key in starts[-1]


def _shown(spec: str) -> str:
    """A data set spec or file, with absolute paths shortened to their last part."""
    return f"`{re.sub(r'(?<![^ :=])/(?:[^/ :]+/)*', '', spec)}`" if spec else "none"


def _table(rows: list[list[str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
