"""Keras models by name; a `.keras` file is read within bounds and checked, and written whole or not at all."""

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
    """The Keras model of a run folder, a `.keras` file or a preset, or of the `.keras` file that an export carries.

    Args:
        model: see `find_model`.
        kind: what it has to be.
        name, missing: of the file in an export, see `keras_file_of`.
        otherwise: what to do where it is something else, for the message.

    Raises:
        UserError: no such model, it cannot be loaded, or it is of another kind.
    """
    path = find_model(model)
    if (path / PRESET_FILE).is_file():
        return _of_kind(load_preset(path), kind, model, otherwise)
    return load_keras_file(keras_file_of(path, name, missing), kind, otherwise)


def load_keras_file(file: Path, kind: type[Model], otherwise: str) -> Model:
    """The model of a `.keras` file.

    Args:
        file: the file.
        kind: what it has to hold.
        otherwise: what to do where it holds something else, for the message.

    Raises:
        UserError: it is missing or broken, or holds another kind of model.
    """
    read_keras_config(file)
    try:
        loaded = keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras and h5py raise anything on a broken file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{file}: cannot be loaded ({reason[:200]}); was it written to its end?") from None
    return _of_kind(loaded, kind, file, otherwise)


def _of_kind(loaded: keras.Model, kind: type[Model], shown: str | Path, otherwise: str) -> Model:
    if not isinstance(loaded, kind):
        raise UserError(f"{shown}: holds a {type(loaded).__name__}, not a {kind.__name__}; {otherwise}")
    return loaded


def save_keras_file(model: keras.Model, file: Path) -> None:
    """Writes `file` whole or not at all; `UserError` when it cannot be written."""
    unfinished = file.with_name(f".{file.stem}.{os.getpid()}.writing.keras")  # Keras wants the suffix
    try:
        model.save(unfinished)
        os.replace(unfinished, file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def keras_file_of(path: Path, name: Path, missing: str) -> Path:
    """The `.keras` file of what `find_model` found: the file itself, or the one that a SavedModel carries.

    Args:
        path: of a `.keras` file or of a SavedModel's folder.
        name: of the file in such a folder.
        missing: what it means that the folder has no such file, for the message.

    Raises:
        UserError: the folder has no such file, or one of its files differs from its manifest.
    """
    if is_portable(path):
        raise UserError(f"{path}: is no Keras model; name the run, the .keras file or the export that it was made of")
    if not path.is_dir():
        return path
    if not (path / name).is_file():
        raise UserError(f"{path / name}: missing; {missing}")
    check_manifest(path)
    return path / name
