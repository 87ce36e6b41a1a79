"""Runtimes: one class for each model format. To support another format, add a class here.

A runtime takes uint8 `[1, H, W, 3]` RGB and returns the dictionary of a `Proposer`: `boxes [1, n, 4]`, `scores [1, n]`,
`valid [1, n]`, `levels [1, n]`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.inference.loading import load_keras_proposer
from zip_keras.inference.manifest import check_manifest
from zip_keras.inference.model_files import KERAS_FILE, SAVED_MODEL_FILE
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.portable_files import is_portable
from zip_keras.inference.portable_runtimes import (
    LiteRtRuntime,
    OnnxRuntime,
    OpenVinoRuntime,
    build_around,
    describe_for,
)
from zip_keras.models.proposer import Proposer


class Runtime(Protocol):
    """A model that is ready to run.

    Attributes:
        output_size: maximum number of boxes per image.
    """

    output_size: int

    def __call__(self, images: np.ndarray) -> Mapping[str, Any]: ...


class ProposerRuntime:
    """A `Proposer` as a TensorFlow graph, traced once for all image sizes. Later weight updates take effect."""

    def __init__(self, proposer: Proposer, options: InferenceOptions):
        longer = (options.max_proposals or 0) > proposer.postprocess_config.output_size
        if longer or not options.only_length:
            proposer = options.apply(proposer)
        self.output_size = proposer.postprocess_config.output_size
        self._call = tf.function(
            lambda images: proposer(images, training=False),
            input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)],
            autograph=False,  # the model uses keras.ops only, and AutoGraph is slow
        )

    def __call__(self, images: np.ndarray) -> Mapping[str, Any]:
        return self._call(tf.convert_to_tensor(images))


class SavedModelRuntime:
    """The unchanged graph of an exported SavedModel.

    Raises:
        UserError: it is no export of this package, a file differs from its manifest, or it outputs fewer boxes than
            `max_proposals`.
    """

    def __init__(self, folder: Path, max_proposals: int | None):
        check_manifest(folder)
        try:
            self._loaded = tf.saved_model.load(str(folder))  # keep a reference: it owns the variables
            self._call = self._loaded.signatures["serving_default"]
            self.output_size = self._call.structured_outputs["boxes"].shape[1]
        except Exception as error:  # TensorFlow raises many types for missing or truncated variables
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"{folder}: not a SavedModel of zip-keras export ({reason[:200]})") from None
        if max_proposals is not None and max_proposals > self.output_size:
            raise UserError(
                f"{folder}: this SavedModel lists {self.output_size} boxes an image and cannot list {max_proposals}; "
                f"take {folder / KERAS_FILE}, or export again with --max-proposals {max_proposals}"
            )

    def __call__(self, images: np.ndarray) -> Mapping[str, Any]:
        return self._call(images=tf.convert_to_tensor(images))


def open_runtime(path: Path, options: InferenceOptions) -> Runtime:
    """Open the runtime of a path from `find_model`.

    A SavedModel runs unchanged if only `max_proposals` is set. Otherwise the `.keras` file inside its folder is used.

    Raises:
        UserError: the options would change what is fixed in the file, or the file contains a detector or is broken.
    """
    if is_portable(path):
        return _open_portable(path, options)
    if (path / SAVED_MODEL_FILE).is_file() and options.only_length:
        return SavedModelRuntime(path, options.max_proposals)
    return ProposerRuntime(load_keras_proposer(path), options)


def _open_portable(file: Path, options: InferenceOptions) -> Runtime:
    description = describe_for(file, "proposer")
    if file.suffix == ".xml":
        proposer = build_around(file, description)
        assert isinstance(proposer, Proposer)
        return OpenVinoRuntime(file, description, options.apply(proposer))
    if not options.only_length:
        raise UserError(f"{file}: resizing and NMS are inside and cannot change; export again with these options")
    if (options.max_proposals or 0) > description.output_size:
        raise UserError(
            f"{file}: lists {description.output_size} boxes an image and cannot list {options.max_proposals}; "
            f"export again with --max-proposals {options.max_proposals}"
        )
    return OnnxRuntime(file, description) if file.suffix == ".onnx" else LiteRtRuntime(file, description)
