"""Reader of the convolutions of an ONNX file; nothing in the file is executed."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from zip_keras.errors import UserError


class OnnxConvolution(NamedTuple):
    """A convolution of an ONNX graph.

    `output` is the name of its result, `weight` is `[out, in / groups, height, width]`, `bias` is `[out]` or None.
    """

    output: str
    weight: np.ndarray
    bias: np.ndarray | None


def read_convolutions(file: str | Path) -> list[OnnxConvolution]:
    """Read the convolutions of an ONNX graph whose weights are constants, in the order of the graph.

    Args:
        file: an ONNX model; its weights are initialisers or `Constant` nodes.

    Raises:
        UserError: the file is missing, is not an ONNX model or has no such convolution, or the package `onnx` is not
            installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise UserError(f"{file}: reading ONNX needs the package onnx; pip install 'zip-keras[convert]'") from None
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        graph = onnx.load(file).graph
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
                tensors.update((node.output[0], numpy_helper.to_array(value)) for value in values)
    except Exception as error:  # a broken file can raise any exception
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{file}: not a readable ONNX model ({reason}); fetch it again") from None
    found = []
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in tensors:
            bias = tensors.get(node.input[2]) if len(node.input) > 2 else None
            found.append(OnnxConvolution(node.output[0], tensors[node.input[1]], bias))
    if not found:
        raise UserError(f"{file}: no convolution with constant weights in it; it is not a network of `SOURCES`")
    return found
