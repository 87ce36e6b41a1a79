"""Export the network of a proposer or detector to OpenVINO. Needs the extra `openvino`.

Resizing, box decoding and NMS are not part of the file and stay in float32: eight bits are too few for box
coordinates.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.inference.portable_files import describe_model
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.models.two_stage import TwoStageNetwork
from zip_keras.utils.optional import optional_import


def write_openvino(
    model: Proposer | Detector,
    file: Path,
    precision: str = "float32",
    images: Iterable[np.ndarray] = (),
    source: Path | None = None,
) -> None:
    """Write the network to `file` (`.xml`) and its `.bin`.

    Input: `image` float32 `[B, H, W, 3]`, 0..255, any size. Outputs: `output_00`, `output_01`, ..., the flattened
    outputs of the network.

    Args:
        model: the model to convert.
        file: output file; its folder is created.
        precision: precision of the arithmetic: "float32", "bfloat16" (weights as float16) or "int8".
        images: for "int8": images on which the activation ranges are measured, uint8 `[H, W, 3]` each.
        source: an existing float32 file of the same model, which saves the conversion.

    Raises:
        UserError: the model uses weights after the network's outputs, or there are no images for "int8".
    """
    check_openvino(model)
    library = optional_import("openvino", "--formats openvino", "openvino")
    converted = library.Core().read_model(str(source)) if source else _converted(library, model)
    if precision == "int8":
        converted = _quantized(converted, model, images)
    file.parent.mkdir(parents=True, exist_ok=True)
    library.save_model(converted, str(file), compress_to_fp16=precision == "bfloat16")
    describe_model(file, model, precision)


def _converted(library: Any, model: Proposer | Detector) -> Any:
    forward = _Forward(model.network)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(forward, folder, signatures=forward.forward)
        return library.convert_model(folder)


def check_openvino(model: Proposer | Detector) -> None:
    """Raise `UserError` if the model uses weights after the network's outputs."""
    if isinstance(model.network, TwoStageNetwork):
        raise UserError(
            "--formats openvino: takes proposers and detectors of one stage; two stages run as onnx and litert"
        )
    if isinstance(model, Proposer) and (model.refinement_steps or 0) > model.network.config.refinement_steps:
        raise UserError("--formats openvino: takes no more refinement steps than the network was trained with")


class _Forward(tf.Module):
    def __init__(self, network):
        super().__init__()
        self._weights = [variable.value for variable in network.variables]
        self._network = lambda image: network(image, training=False)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="image")], autograph=False)
    def forward(self, image):
        return {f"output_{i:02}": x for i, x in enumerate(tf.nest.flatten(self._network(image)))}


def _quantized(converted, model: Proposer | Detector, images: Iterable[np.ndarray]):
    library = optional_import("nncf", "--formats openvino_int8", "openvino")
    inputs = [x.numpy() for image in images for x in model.network_inputs(image[None])]
    if not inputs:
        raise UserError(
            "--formats openvino_int8: needs images to measure the ranges on; name --calibration-images PATH"
        )
    return library.quantize(converted, library.Dataset(inputs), subset_size=len(inputs))
