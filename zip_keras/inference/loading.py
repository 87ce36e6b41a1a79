"""Models by name, the same everywhere: a run folder, a `.keras` file, an exported SavedModel or a preset."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from zip_keras.inference.keras_file import load_keras_model
from zip_keras.inference.model_files import KERAS_FILE
from zip_keras.inference.options import InferenceOptions
from zip_keras.models.proposer import Proposer

if TYPE_CHECKING:
    from zip_keras.inference.runner import InferenceRunner


def load_proposer(
    model: str | Path, max_proposals: int | None = None, options: InferenceOptions | None = None
) -> "InferenceRunner":
    """A model as a function of one image, uint8 `[H, W, 3]` RGB, that returns its `Boxes`.

    Args:
        model: see `find_model`.
        max_proposals: boxes an image at most; None: as many as the model lists. A longer list than the model's own
            is possible, except for a SavedModel, whose NMS is fixed.
        options: other changes to its prediction; then the `.keras` file inside of a SavedModel is used.

    Raises:
        UserError: no such model, it cannot be loaded, it cannot list as many, or the options do not fit it.
    """
    from zip_keras.inference.runner import InferenceRunner

    options = options or InferenceOptions()
    if max_proposals is not None:
        options = dataclasses.replace(options, max_proposals=max_proposals)
    return InferenceRunner(model, options)


def load_keras_proposer(model: str | Path) -> Proposer:
    """The `Proposer` of a run folder, a `.keras` file or a preset, or of the `.keras` file that an export carries.

    Raises:
        UserError: no such model, or it cannot be loaded.
    """
    missing = "this SavedModel was not made by zip-keras export, or lost a file"
    otherwise = "`zip-keras detect` runs detectors; of a network, save zip_keras.Proposer(network)"
    return load_keras_model(model, Proposer, KERAS_FILE, missing, otherwise)
