"""Load proposers from a run folder, a `.keras` file, an exported SavedModel or a preset."""

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
    """Load a model as a function from one image, uint8 `[H, W, 3]` RGB, to its `Boxes`.

    Args:
        model: see `find_model`.
        max_proposals: maximum number of boxes per image; None: the model's own limit. It may exceed the model's own
            limit, except for a SavedModel, whose NMS is fixed.
        options: other changes to inference. They require the `.keras` file inside a SavedModel, which is used instead.

    Raises:
        UserError: the model does not exist, cannot be loaded, or does not support `max_proposals` or the options.
    """
    from zip_keras.inference.runner import InferenceRunner

    options = options or InferenceOptions()
    if max_proposals is not None:
        options = dataclasses.replace(options, max_proposals=max_proposals)
    return InferenceRunner(model, options)


def load_keras_proposer(model: str | Path) -> Proposer:
    """Load the `Proposer` of a run folder, a `.keras` file, a preset, or an export's `.keras` file.

    Raises:
        UserError: the model does not exist, cannot be loaded, or is no proposer.
    """
    missing = "this SavedModel was not made by zip-keras export, or lost a file"
    otherwise = "`zip-keras detect` runs detectors; of a network, save zip_keras.Proposer(network)"
    return load_keras_model(model, Proposer, KERAS_FILE, missing, otherwise)
