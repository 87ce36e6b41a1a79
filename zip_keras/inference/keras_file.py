"""Load and save Keras models. `.keras` files are checked within size limits before loading and written atomically."""

import os
from pathlib import Path
from typing import TypeVar

import keras

from zip_keras.errors import UserError
from zip_keras.inference.manifest import check_manifest
from zip_keras.inference.model_files import find_model, read_keras_config
from zip_keras.inference.portable_files import is_portable
from zip_keras.presets import PRESET_FILE, load_preset

Model = TypeVar("Model", bound=keras.Model)


def load_keras_model(model: str | Path, kind: type[Model], name: Path, missing: str, otherwise: str) -> Model:
    """Load the Keras model of a run folder, a `.keras` file, a preset, or an export's `.keras` file.

    Args:
        model: see `find_model`.
        kind: required class.
        name, missing: see `keras_file_of`.
        otherwise: advice in the message if the model has another class.

    Raises:
        UserError: the model does not exist, cannot be loaded, or has another class.
    """
    path = find_model(model)
    if (path / PRESET_FILE).is_file():
        return _of_kind(load_preset(path), kind, model, otherwise)
    return load_keras_file(keras_file_of(path, name, missing), kind, otherwise)


def load_keras_file(file: Path, kind: type[Model], otherwise: str) -> Model:
    """Load the model of a `.keras` file.

    Args:
        file: the file.
        kind: required class.
        otherwise: advice in the message if the model has another class.

    Raises:
        UserError: the file is missing or broken, or contains a model of another class.
    """
    read_keras_config(file)
    try:
        loaded = keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras and h5py raise many types for broken files
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file}: cannot be loaded ({reason[:200]}); was it written to its end?") from None
    return _of_kind(loaded, kind, file, otherwise)


def _of_kind(loaded: keras.Model, kind: type[Model], shown: str | Path, otherwise: str) -> Model:
    if not isinstance(loaded, kind):
        raise UserError(f"{shown}: holds a {type(loaded).__name__}, not a {kind.__name__}; {otherwise}")
    return loaded


def save_keras_file(model: keras.Model, file: Path) -> None:
    """Write `file` atomically; raise `UserError` if it cannot be written."""
    unfinished = file.with_name(f".{file.stem}.{os.getpid()}.writing.keras")  # Keras requires the suffix
    try:
        model.save(unfinished)
        os.replace(unfinished, file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def keras_file_of(path: Path, name: Path, missing: str) -> Path:
    """The `.keras` file of a path from `find_model`: the file itself, or the one inside a SavedModel folder.

    Args:
        path: a `.keras` file or a SavedModel folder.
        name: path of the `.keras` file inside the folder.
        missing: explanation in the message if the folder has no such file.

    Raises:
        UserError: the model is for another runtime, the folder has no such file, or a file differs from the manifest.
    """
    if is_portable(path):
        raise UserError(f"{path}: is no Keras model; name the run, the .keras file or the export that it was made of")
    if not path.is_dir():
        return path
    if not (path / name).is_file():
        raise UserError(f"{path / name}: missing; {missing}")
    check_manifest(path)
    return path / name
