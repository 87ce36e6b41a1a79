"""Models by name, the same for every command: a run folder, a `.keras` file or an exported SavedModel."""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from zip_keras.config import SuppressionConfig
from zip_keras.errors import UserError
from zip_keras.models.proposer import Proposer

Propose = Callable[[np.ndarray], dict[str, np.ndarray]]
"""uint8 `[H, W, 3]` RGB -> `{"boxes" [n, 4] float32 (y1, x1, y2, x2) in pixels, "scores" [n] float32 decreasing}`."""

SAVED_MODEL_FILE = "saved_model.pb"
KERAS_FILE = Path("assets.extra") / "proposer.keras"  # in a SavedModel folder; TensorFlow Serving leaves it alone
RUN_FILES = ("best.keras", "last.keras")


def find_model(model: str | Path) -> Path:
    """The `.keras` file or SavedModel folder that a model's name stands for.

    Args:
        model: a run folder (its `best.keras`, else its `last.keras`), a `.keras` file, a SavedModel folder, or a folder
            of numbered SavedModels, of which the highest number counts.

    Raises:
        UserError: there is no such model.
    """
    path = Path(model)
    if path.is_file() and path.suffix == ".keras":
        return path
    if path.is_dir():
        versions = [folder for folder in [path, *_versions(path)] if (folder / SAVED_MODEL_FILE).is_file()]
        files = [path / name for name in RUN_FILES if (path / name).is_file()]
        for found in (*versions, *files):
            return found
        if (path / "config.yaml").is_file():
            raise UserError(
                f"{path}: the run has saved no model yet; it does at every train.evaluate_every steps and at its end"
            )
    what = "holds no model" if path.is_dir() else "is no model" if path.exists() else "no such model"
    raise UserError(
        f"{path}: {what}; name a run folder (best.keras or last.keras in it), a .keras file, or the folder of an "
        f"exported SavedModel (exported/NAME or exported/NAME/VERSION)"
    )


def load_proposer(model: str | Path, max_proposals: int | None = None) -> Propose:
    """A model as a function of one image; valid boxes only, best first.

    Args:
        model: see `find_model`.
        max_proposals: boxes an image at most; None: as many as the model lists. A longer list than the model's own
            can be had from `.keras` files, whose suppression is made anew; a SavedModel's is fixed.

    Raises:
        UserError: no such model, it cannot be loaded, or it cannot list as many.
    """
    path = find_model(model)
    if max_proposals is not None and max_proposals < 1:
        raise UserError(f"max_proposals is {max_proposals}; it must be at least 1")
    propose = _of_saved_model(path, max_proposals) if path.is_dir() else _of_keras_file(path, max_proposals)
    if max_proposals is None:
        return propose
    return lambda image: {name: values[:max_proposals] for name, values in propose(image).items()}


def load_keras_proposer(model: str | Path) -> Proposer:
    """The `Proposer` of a run folder, of a `.keras` file, or of the `.keras` file that an export carries.

    Raises:
        UserError: no such model, or it cannot be loaded.
    """
    path = find_model(model)
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


def with_settings(
    proposer: Proposer,
    max_proposals: int | None = None,
    short_side: int | None = None,
    long_side: int | None = None,
    passes: int | None = None,
) -> Proposer:
    """The same network with another length of list, size of look or number of refining passes; None keeps a setting.

    Raises:
        UserError: a number is below 1 (`passes`: 0), the short side is longer than the long side, or the network has
            not learnt to refine.
    """
    given = {"max_proposals": max_proposals, "short_side": short_side, "long_side": long_side}
    for name, value in given.items():
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
    short = short_side or proposer.resizing.short_side
    long = long_side or proposer.resizing.long_side
    if short is not None and short > long:
        raise UserError(f"the short side, {short}, is longer than the long side, {long}; set both")
    suppression = proposer.suppression
    if max_proposals is not None:
        suppression = _listing(suppression, max_proposals)
    passes = proposer.passes if passes is None else passes
    return Proposer(proposer.network, suppression, short, long, passes, name=proposer.name)


def list_length(suppression: SuppressionConfig) -> int:
    """How many boxes a proposer lists at most."""
    return min(suppression.max_proposals, suppression.counts[0])


def _listing(suppression: SuppressionConfig, count: int) -> SuppressionConfig:
    """The settings for lists of `count`: the loosest threshold lets as many through."""
    counts = (max(count, suppression.counts[0]), *suppression.counts[1:])
    return dataclasses.replace(suppression, max_proposals=count, counts=counts)


def _of_keras_file(path: Path, max_proposals: int | None) -> Propose:
    from zip_keras.prediction.predictor import compile_proposer

    proposer = load_keras_proposer(path)
    if max_proposals is not None and max_proposals > list_length(proposer.suppression):
        proposer = with_settings(proposer, max_proposals)
    return compile_proposer(proposer)


def _of_saved_model(path: Path, max_proposals: int | None) -> Propose:
    import tensorflow as tf

    from zip_keras.prediction.predictor import valid_places

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
