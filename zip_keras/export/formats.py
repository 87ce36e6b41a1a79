"""Export formats. Every written file is compared with the Keras model before anything is published."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.export.litert import write_litert
from zip_keras.export.onnx import write_onnx
from zip_keras.export.openvino import check_openvino, write_openvino
from zip_keras.export.signatures import ServedModel
from zip_keras.export.verification import (
    BOUNDS,
    Call,
    Comparison,
    check,
    check_signatures,
    compare,
    verification_batches,
)
from zip_keras.inference.keras_file import load_keras_file
from zip_keras.inference.model_files import DETECTOR_FILE, KERAS_FILE
from zip_keras.inference.portable_files import read_description
from zip_keras.inference.portable_runtimes import LiteRtRuntime, OnnxRuntime, OpenVinoRuntime
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.utils.optional import optional_import

FORMATS = tuple(BOUNDS)
CLASS_NAMES_FILE = Path("assets.extra") / "class_names.json"
Model = Proposer | Detector


@dataclass(frozen=True)
class FormatOptions:
    """Options of individual formats.

    Attributes:
        litert_sizes: height and width of the images of each LiteRT file; empty: the model's short side by 4/3 of it,
            in landscape and portrait orientation.
        calibration_images: for `openvino_int8`, uint8 `[H, W, 3]` each.
    """

    litert_sizes: Sequence[tuple[int, int]] = ()
    calibration_images: Iterable[np.ndarray] = ()


@dataclass(frozen=True)
class Written:
    """A written file to be compared: its format, its function, and the image size (height, width) if it is fixed."""

    format: str
    call: Call
    size: tuple[int, int] | None = None


def check_formats(formats: Sequence[str], model: Model | None = None) -> None:
    """Raise `UserError` if a format does not exist, lacks its packages, or does not support the model."""
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"--formats {name}: no such format; there are {', '.join(FORMATS)}")
    needs = {"onnx": ("tf2onnx", "onnx", "onnxruntime"), "openvino": ("openvino",), "litert": ("ai_edge_litert",)}
    for extra, modules in needs.items():
        for module in modules if any(name.startswith(extra) for name in formats) else ():
            optional_import(module, f"--formats {extra}", extra)
    if model is not None and any(name.startswith("openvino") for name in formats):
        check_openvino(model)


def write_formats(
    model: Model, served: ServedModel, folder: Path, formats: Sequence[str], options: FormatOptions
) -> Iterator[Comparison]:
    """Write the formats into a version folder one by one and compare each with the model.

    Raises:
        UserError: a format exceeds its bound.
    """
    traced = _traced(model)
    for name in formats:
        for written in _WRITERS[name](model, served, folder, options):
            batches = verification_batches(written.size)
            comparison = compare(name, traced, written.call, batches)
            check(comparison)
            yield comparison


def _traced(model: Model) -> Call:
    """The model as a graph for all image sizes."""
    function = tf.function(
        lambda images: model(images, training=False),
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)],
        autograph=False,
    )
    return lambda images: function(tf.constant(images))


def _saved_model(model: Model, served: ServedModel, folder: Path, options: FormatOptions) -> Iterator[Written]:
    tf.saved_model.save(served, str(folder), signatures=served.signatures())
    loaded = tf.saved_model.load(str(folder))
    check_signatures(loaded.signatures)
    yield Written("saved_model", lambda images: loaded.signatures["serving_default"](images=tf.constant(images)))


def _keras(model: Model, served: ServedModel, folder: Path, options: FormatOptions) -> Iterator[Written]:
    detects = isinstance(model, Detector)
    file = folder / (DETECTOR_FILE if detects else KERAS_FILE)
    file.parent.mkdir(exist_ok=True)
    model.save(file)
    if detects:
        (folder / CLASS_NAMES_FILE).write_text(json.dumps(list(model.class_names)) + "\n", encoding="utf-8")
    yield Written("keras", _traced(load_keras_file(file, type(model), "export it again")))


def _onnx(float16: bool) -> "Writer":
    def write(model: Model, served: ServedModel, folder: Path, options: FormatOptions) -> Iterator[Written]:
        file = folder / "onnx" / ("model_float16.onnx" if float16 else "model.onnx")
        source = file.with_name("model.onnx")
        write_onnx(model, file, float16, source if source.is_file() else None)
        yield Written("onnx_float16" if float16 else "onnx", OnnxRuntime(file, read_description(file)))

    return write


def _openvino(name: str, precision: str) -> "Writer":
    def write(model: Model, served: ServedModel, folder: Path, options: FormatOptions) -> Iterator[Written]:
        file = folder / "openvino" / f"{name.replace('openvino', 'model')}.xml"
        source = file.with_name("model.xml")
        write_openvino(model, file, precision, options.calibration_images, source if source.is_file() else None)
        yield Written(name, OpenVinoRuntime(file, read_description(file), model))

    return write


def _litert(model: Model, served: ServedModel, folder: Path, options: FormatOptions) -> Iterator[Written]:
    for size in options.litert_sizes or _usual_sizes(model):
        file = folder / "litert" / f"model_{size[0]}x{size[1]}.tflite"
        write_litert(model, file, size)
        yield Written("litert", LiteRtRuntime(file, read_description(file)), size)


def _usual_sizes(model: Model) -> list[tuple[int, int]]:
    short = model.short_sides[0] or 416
    long = min(model.long_side, round(short * 4 / 3 / 32) * 32)
    return [(short, long), (long, short)]


Writer = Callable[[Model, ServedModel, Path, FormatOptions], Iterator[Written]]
_WRITERS: dict[str, Writer] = {
    "keras": _keras,
    "saved_model": _saved_model,
    "onnx": _onnx(float16=False),
    "onnx_float16": _onnx(float16=True),
    "openvino": _openvino("openvino", "float32"),
    "openvino_bfloat16": _openvino("openvino_bfloat16", "bfloat16"),
    "openvino_int8": _openvino("openvino_int8", "int8"),
    "litert": _litert,
}
