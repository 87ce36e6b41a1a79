"""Models by name, the same for every command: a run folder, a `.keras` file, an exported SavedModel or a preset."""

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zip_keras.errors import UserError
from zip_keras.inference.options import InferenceOptions
from zip_keras.models.proposer import Proposer
from zip_keras.presets import FOLDER as PRESETS
from zip_keras.presets import PRESET_FILE, list_presets, load_preset, read_preset

Propose = Callable[[np.ndarray], dict[str, np.ndarray]]
"""uint8 `[H, W, 3]` RGB -> `{"boxes" [n, 4] float32 (y1, x1, y2, x2) in pixels, "scores" [n] float32 decreasing,
"levels" [n] int32 (1, 2, 3: fine to coarse)}`."""

SAVED_MODEL_FILE = "saved_model.pb"
KERAS_FILE = Path("assets.extra") / "proposer.keras"  # in a SavedModel folder; TensorFlow Serving leaves it alone
RUN_FILES = ("best.keras", "last.keras")


def find_model(model: str | Path) -> Path:
    """The `.keras` file, SavedModel folder or preset folder that a model's name stands for.

    Args:
        model: a run folder (its `best.keras`, else its `last.keras`), a `.keras` file, a SavedModel folder, or a folder
            of numbered SavedModels, of which the highest number counts; else the name of a preset.

    Raises:
        UserError: there is no such model.
    """
    path = Path(model)
    if path.is_file() and path.suffix == ".keras":
        return path
    if path.is_dir():
        versions = [folder for folder in [path, *_versions(path)] if (folder / SAVED_MODEL_FILE).is_file()]
        files = [path / name for name in RUN_FILES if (path / name).is_file()]
        if (path / PRESET_FILE).is_file():
            return path
        for found in (*versions, *files):
            return found
        if (path / "config.yaml").is_file():
            raise UserError(
                f"{path}: the run has saved no model yet; it does at every train.evaluate_every steps and at its end"
            )
    if not path.exists() and str(model) in list_presets():
        return PRESETS / str(model)
    what = "holds no model" if path.is_dir() else "is no model" if path.exists() else "no such model"
    raise UserError(
        f"{path}: {what}; name a run folder (best.keras or last.keras in it), a .keras file, the folder of an exported "
        f"SavedModel (exported/NAME or exported/NAME/VERSION), or a preset ({', '.join(list_presets())})"
    )


def load_proposer(
    model: str | Path, max_proposals: int | None = None, options: InferenceOptions | None = None
) -> Propose:
    """A model as a function of one image; valid boxes only, best first.

    Args:
        model: see `find_model`.
        max_proposals: boxes an image at most; None: as many as the model lists. A longer list than the model's own
            can be had but from a SavedModel, whose NMS is fixed.
        options: other changes to its prediction; then the `.keras` file inside of a SavedModel is used.

    Raises:
        UserError: no such model, it cannot be loaded, it cannot list as many, or the options do not fit it.
    """
    asked = options or InferenceOptions()
    if max_proposals is not None:
        asked = dataclasses.replace(asked, max_proposals=max_proposals)
    path = find_model(model)
    if (path / SAVED_MODEL_FILE).is_file() and asked.only_length:
        propose = _of_saved_model(path, asked.max_proposals)
    else:
        propose = _of_keras_file(path, asked)
    if asked.max_proposals is None:
        return propose
    return lambda image: {name: values[: asked.max_proposals] for name, values in propose(image).items()}


def load_keras_proposer(model: str | Path) -> Proposer:
    """The `Proposer` of a run folder, a `.keras` file or a preset, or of the `.keras` file that an export carries.

    Raises:
        UserError: no such model, or it cannot be loaded.
    """
    path = find_model(model)
    if (path / PRESET_FILE).is_file():
        return load_preset(path)
    if path.is_dir():
        path = path / KERAS_FILE
        if not path.is_file():
            raise UserError(f"{path}: missing; this SavedModel was not made by zip-keras export, or lost a file")
    try:
        loaded = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: cannot be loaded ({reason[:200]}); was it written to its end?") from None
    if not isinstance(loaded, Proposer):
        raise UserError(
            f"{path}: holds a {type(loaded).__name__}, not a Proposer; save zip_keras.Proposer(network) instead"
        )
    return loaded


def stored_calibration(model: str | Path) -> dict[str, Any] | None:
    """What the model's file says about its calibration, without building the model; None for an uncalibrated one.

    Raises:
        UserError: no such model, or its file is broken.
    """
    path = find_model(model)
    if (path / PRESET_FILE).is_file():
        return read_preset(path)["proposer"].get("calibration")
    file = path / KERAS_FILE if path.is_dir() else path
    if not file.is_file():  # a SavedModel of another make: it says so when it is loaded
        return None
    try:
        with zipfile.ZipFile(file) as content:
            return json.loads(content.read("config.json"))["config"].get("calibration")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{file}: cannot be loaded ({error}); was it written to its end?") from None


def _of_keras_file(path: Path, options: InferenceOptions) -> Propose:
    from zip_keras.inference.runner import compile_proposer

    proposer = load_keras_proposer(path)
    longer = options.max_proposals is not None and options.max_proposals > proposer.postprocess_config.output_size
    if longer or not options.only_length:
        proposer = options.apply(proposer)
    return compile_proposer(proposer)


def _of_saved_model(path: Path, max_proposals: int | None) -> Propose:
    import tensorflow as tf

    from zip_keras.inference.runner import valid_places

    try:
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures["serving_default"]
        length = signature.structured_outputs["boxes"].shape[1]
    except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a SavedModel of zip-keras export ({reason[:200]})") from None
    if max_proposals is not None and max_proposals > length:
        raise UserError(
            f"{path}: this SavedModel lists {length} boxes an image and cannot list {max_proposals}; take "
            f"{path / KERAS_FILE}, or export again with --max-proposals {max_proposals}"
        )

    def propose(image: np.ndarray) -> dict[str, np.ndarray]:
        return valid_places(loaded.signatures["serving_default"](images=tf.convert_to_tensor(image[None])))

    return propose


def _versions(folder: Path) -> list[Path]:
    """Subfolders named by integers, the highest first."""
    numbered = [entry for entry in folder.iterdir() if entry.name.isascii() and entry.name.isdigit()]
    return sorted(numbered, key=lambda entry: int(entry.name), reverse=True)


def next_version(folder: Path) -> int:
    """One more than the highest version in a folder of exports; 1 where there is none."""
    taken = _versions(folder) if folder.is_dir() else []
    return int(taken[0].name) + 1 if taken else 1
