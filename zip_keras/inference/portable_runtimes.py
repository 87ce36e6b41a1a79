"""Runtimes for ONNX, OpenVINO and LiteRT model files. See `zip_keras.inference.runtimes`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.inference.portable_files import SUFFIXES, Description, read_description
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.utils.optional import optional_import

_OPENVINO_PRECISION = {"bfloat16": "bf16"}  # int8 is stored in the file; its remaining operations are float32


class OnnxRuntime:
    """ONNX Runtime. The file contains the whole model, including NMS, and takes any batch of images of one size."""

    def __init__(self, file: Path, description: Description):
        self.output_size = description.output_size
        library = optional_import("onnxruntime", str(file), "onnx")
        options = library.SessionOptions()
        options.intra_op_num_threads = _threads()
        try:
            self._session = library.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's classes derive from RuntimeError or Exception
            raise _unreadable(file, error) from None
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, images: np.ndarray) -> Mapping[str, Any]:
        return dict(zip(self._names, self._session.run(self._names, {"images": images}), strict=True))


class OpenVinoRuntime:
    """OpenVINO. The file contains only the network; TensorFlow does resizing, box decoding and NMS.

    Args:
        model: provides pre- and postprocessing with the inference options; its weights are not used.
    """

    def __init__(self, file: Path, description: Description, model: Proposer | Detector):
        self.output_size = _output_size(model)
        library = optional_import("openvino", str(file), "openvino")
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": _threads(),
            "INFERENCE_PRECISION_HINT": _OPENVINO_PRECISION.get(description.precision, "f32"),
        }
        try:
            self._network = library.Core().compile_model(str(file), "CPU", settings)
        except Exception as error:
            raise _unreadable(file, error) from None
        self._outputs = sorted(self._network.outputs, key=lambda output: min(output.names))  # output_00, output_01, ...
        self._structure = model.network.output
        spec = tf.TensorSpec([None, None, None, 3], tf.uint8)
        self._before = tf.function(model.network_inputs, input_signature=[spec], autograph=False)
        self._after = tf.function(model.answer, autograph=False, reduce_retracing=True)

    def __call__(self, images: np.ndarray) -> Mapping[str, Any]:
        inputs = self._before(tf.convert_to_tensor(images))
        outputs = [self._run(x) for x in inputs]
        height, width = (tf.constant(side, tf.int32) for side in images.shape[1:3])
        return self._after(outputs, inputs, height, width)

    def _run(self, image: tf.Tensor):
        answer = self._network(image.numpy())
        return tf.nest.pack_sequence_as(self._structure, [tf.constant(answer[output]) for output in self._outputs])


class LiteRtRuntime:
    """LiteRT. The file contains the whole model for images of one size.

    Other images are scaled to fit into that size and padded with gray at the bottom and right. Boxes are in pixels of
    the given image.
    """

    def __init__(self, file: Path, description: Description):
        if description.size is None:
            raise UserError(f"{file.with_suffix('.json')}: damaged (no size); export the model again")
        self.output_size, self._size = description.output_size, description.size
        library = optional_import("ai_edge_litert.interpreter", str(file), "litert")
        try:
            self._interpreter = library.Interpreter(model_path=str(file), num_threads=_threads())
            self._run = self._interpreter.get_signature_runner("serving_default")
        except Exception as error:
            raise _unreadable(file, error) from None

    def __call__(self, images: np.ndarray) -> Mapping[str, Any]:
        answers = [self._of_image(image) for image in images]
        return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}

    def _of_image(self, image: np.ndarray) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        factor = min(self._size[0] / height, self._size[1] / width)
        fitted = image
        if (height, width) != self._size:
            inner = [
                max(1, min(round(side * factor), most)) for side, most in zip((height, width), self._size, strict=True)
            ]
            resized = tf.image.resize(image.astype(np.float32), inner, antialias=True)
            fitted = np.full((*self._size, 3), 114, np.uint8)
            fitted[: inner[0], : inner[1]] = np.round(np.clip(resized.numpy(), 0, 255))
        found = {name: values[0] for name, values in self._run(images=fitted[None]).items()}
        if fitted is image:
            return found
        scale = np.array([height / inner[0], width / inner[1]] * 2, np.float32)
        boxes = np.clip(found["boxes"] * scale, 0, np.array([height, width, height, width], np.float32))
        inside = found["valid"] & (np.min(boxes[:, 2:] - boxes[:, :2], axis=1) >= 1)
        order = np.argsort(~inside, kind="stable")  # valid boxes first
        found = {name: values[order] for name, values in {**found, "boxes": boxes, "valid": inside}.items()}
        return {
            name: np.where(found["valid"].reshape((-1,) + (1,) * (values.ndim - 1)), values, np.zeros([], values.dtype))
            for name, values in found.items()
        }


def build_around(file: Path, description: Description) -> Proposer | Detector:
    """Build the model of a description with random weights, as pre- and postprocessing for an `OpenVinoRuntime`.

    Raises:
        UserError: this version of zip-keras cannot build the model.
    """
    kind = Proposer if description.kind == "proposer" else Detector
    try:
        return kind.from_config(description.config)
    except Exception as error:  # Keras raises many types for unknown configs
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{file.with_suffix('.json')}: no model of this version of zip-keras ({reason[:200]})"
        ) from None


def describe_for(file: Path, kind: str) -> Description:
    """Read the description of a model file that must be of `kind`, "proposer" or "detector".

    Raises:
        UserError: the model is of the other kind, or the description is missing or damaged.
    """
    description = read_description(file)
    if description.kind != kind:
        command = "propose" if description.kind == "proposer" else "detect"
        raise UserError(f"{file}: holds a {description.kind}, not a {kind}; `zip-keras {command}` runs it")
    return description


def _output_size(model: Proposer | Detector) -> int:
    if isinstance(model, Proposer):
        return model.postprocess_config.output_size
    return model.postprocess_config.max_detections


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return UserError(f"{file}: {SUFFIXES[file.suffix]} cannot load it ({reason[:200]}); export the model again")
