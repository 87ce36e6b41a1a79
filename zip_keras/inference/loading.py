"""Models by name, the same for every command: a run folder, a `.keras` file, an exported SavedModel or a preset."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from zip_keras.errors import UserError
from zip_keras.inference.manifest import check_manifest
from zip_keras.inference.model_files import KERAS_FILE, SAVED_MODEL_FILE, find_model, read_keras_config
from zip_keras.inference.options import InferenceOptions
from zip_keras.models.proposer import Proposer
from zip_keras.presets import PRESET_FILE, load_preset

Propose = Callable[[np.ndarray], dict[str, np.ndarray]]
"""uint8 `[H, W, 3]` RGB -> `{"boxes" [n, 4] float32 (y1, x1, y2, x2) in pixels, "scores" [n] float32 decreasing,
"levels" [n] int32 (1, 2, 3: fine to coarse)}`."""


def load_proposer(
    model: str | Path, max_proposals: int | None = None, options: InferenceOptions | None = None
) -> Propose:
    """A model as a function of one image; valid boxes only, best first.

    Args:
        model: see `find_model`.
        max_proposals: boxes an image at most; None: as many as the model lists. A longer list than the model's own
            is possible, except for a SavedModel, whose NMS is fixed.
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
        folder, path = path, path / KERAS_FILE
        if not path.is_file():
            raise UserError(f"{path}: missing; this SavedModel was not made by zip-keras export, or lost a file")
        check_manifest(folder)
    read_keras_config(path)
    try:
        loaded = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras and h5py raise anything on a broken file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: cannot be loaded ({reason[:200]}); was it written to its end?") from None
    if not isinstance(loaded, Proposer):
        raise UserError(
            f"{path}: holds a {type(loaded).__name__}, not a Proposer; save zip_keras.Proposer(network) instead"
        )
    return loaded


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

    check_manifest(path)
    try:
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures["serving_default"]
        length = signature.structured_outputs["boxes"].shape[1]
    except Exception as error:  # TensorFlow raises anything on missing or cut variables
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
