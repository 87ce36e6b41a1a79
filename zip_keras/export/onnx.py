"""Export a proposer or detector to ONNX, including NMS. Needs the extra `onnx`."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.inference.portable_files import describe_model
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.ops.converting import converting
from zip_keras.utils.optional import optional_import

OPSET = 18  # the first with an antialiased resize
_LARGE = 256  # minimum number of values of a weight stored as float16; biases stay float32


def write_onnx(model: Proposer | Detector, file: Path, float16: bool = False, source: Path | None = None) -> None:
    """Write an ONNX file with input `images` uint8 `[B, H, W, 3]` of any size and the model's outputs.

    Args:
        model: the model to convert.
        file: output file; its folder is created.
        float16: store large weights as float16; the arithmetic stays float32.
        source: an existing float32 file of the same model, which saves the conversion.
    """
    onnx = optional_import("onnx", "--formats onnx", "onnx")
    proto = onnx.load(source) if source else _converted(model)
    if float16:
        _store_as_float16(onnx, proto.graph)
    onnx.checker.check_model(proto)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(proto.SerializeToString())
    describe_model(file, model, "float16 weights" if float16 else "float32")


def _converted(model: Proposer | Detector) -> Any:
    converter = optional_import("tf2onnx", "--formats onnx", "onnx")
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # failed conversions are found by the checks afterwards
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
    function = tf.function(lambda images: model(images, training=False), input_signature=[spec], autograph=False)
    with converting("onnx"):
        proto, _ = converter.convert.from_function(
            function,
            input_signature=[spec],
            opset=OPSET,
            custom_op_handlers={"ScaleAndTranslate": (_resize, [])},
        )
    return proto


def _resize(graph: Any, node: Any, name: str, arguments: list) -> None:
    """Convert TensorFlow's antialiased resize to ONNX's. tf2onnx calls this for every such node."""
    builder = optional_import("tf2onnx.graph_builder", "--formats onnx", "onnx").GraphBuilder(graph)
    onnx = optional_import("onnx", "--formats onnx", "onnx")
    images, size = node.input[:2]
    channels_first = graph.make_node("Transpose", [images], attr={"perm": [0, 3, 1, 2]}).output[0]
    shape = graph.make_node("Shape", [channels_first]).output[0]
    batch = builder.make_slice({"data": shape, "starts": [0], "ends": [2], "axes": [0]})
    size = graph.make_node("Cast", [size], attr={"to": onnx.TensorProto.INT64}).output[0]
    sizes = graph.make_node("Concat", [batch, size], attr={"axis": 0}).output[0]
    empty = graph.make_const(f"{name}_empty", np.array([], np.float32)).output[0]
    resized = graph.make_node(
        "Resize",
        [channels_first, empty, empty, sizes],
        attr={
            "mode": "linear",
            "antialias": 1,
            "coordinate_transformation_mode": "half_pixel",
            "exclude_outside": 1,  # else border pixels are extended outwards: errors up to 12 of 255
        },
    ).output[0]
    result = graph.make_node("Transpose", [resized], attr={"perm": [0, 2, 3, 1]}).output[0]
    graph.replace_all_inputs(node.output[0], result)
    graph.remove_node(node.name)


def _store_as_float16(onnx: Any, graph: Any) -> None:
    """Replace large float32 constants by float16 constants that are cast when the file is loaded."""
    casts = []
    for constant in graph.initializer:
        values = onnx.numpy_helper.to_array(constant)
        if values.dtype != np.float32 or values.size < _LARGE or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = constant.name
        constant.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_float16"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
