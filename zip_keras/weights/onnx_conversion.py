"""Conversion of ONNX files to backbones.

Supported: "esnet_s" and "picodet_s" from `picodet_s_416_coco.onnx` of PaddleDetection. The names in such files are
numbers from the exporter, so convolutions are identified by their order, and every shape is checked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from zip_keras.backbones import get_backbone
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError
from zip_keras.layers.shuffle import BiasedConvolution
from zip_keras.weights.coco_classes import COCO_CLASSES
from zip_keras.weights.conversion import Conversion
from zip_keras.weights.onnx import OnnxConvolution


def convert_convolutions(name: str, convolutions: Sequence[OnnxConvolution]) -> Conversion:
    """Build backbone `name` and fill all of its variables.

    Args:
        name: a backbone of `SOURCES`.
        convolutions: those of the file, see `zip_keras.weights.onnx.read_convolutions`; not all are used.

    Raises:
        UserError: there are too few convolutions, or one has another shape or holds something other than finite
            numbers.
    """
    if name not in SOURCES:
        raise UserError(f"no ONNX weights are known for backbone {name!r}; only for {', '.join(sorted(SOURCES))}")
    image = keras.Input((None, None, 3), name="image")
    built = get_backbone(name).build(image, ModelConfig(backbone=name))
    ours = SOURCES[name](built.layers)
    if len(convolutions) < len(ours):
        raise UserError(
            f"not the file of backbone {name}: {len(convolutions)} convolutions in it, {len(ours)} expected"
        )
    unused, last_layers = [], {}
    for number, source in enumerate(convolutions):
        target = ours[number] if number < len(ours) else None
        if isinstance(target, int):
            last_layers.update(_classifier(target, source, f"convolution {number + 1} ({source.output})", name))
        elif target is None:
            unused.append(source.output)
        else:
            _fill(target, source, f"convolution {number + 1} ({source.output})", name)
    used = len(convolutions) - len(unused)
    return Conversion(keras.Model(image, built.maps), used, tuple(unused), last_layers)


def _classifier(level: int, source: OnnxConvolution, shown: str, name: str) -> dict[str, np.ndarray]:
    """The class part of a level's last layer, which also predicts boxes; see `zip_keras.training.classifier_start`."""
    count = len(COCO_CLASSES)
    outputs, window = source.weight.shape[0], source.weight.shape[2:]
    if window != (1, 1) or outputs < count or source.bias is None:
        raise UserError(f"not the file of backbone {name}: {shown} is no 1x1 convolution to {count} classes and a bias")
    kernel, bias = source.weight[:count, :, 0, 0].T, source.bias[:count]
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise UserError(f"{shown} holds something other than finite numbers")
    return {f"classifier_{level}/kernel": kernel, f"classifier_{level}/bias": bias}


def _fill(target: keras.layers.Layer, source: OnnxConvolution, shown: str, name: str) -> None:
    height, width, inputs, outputs = target.kernel.shape
    depthwise = isinstance(target, keras.layers.DepthwiseConv2D)
    channels = inputs if depthwise else outputs
    wanted = (channels, 1 if depthwise else inputs, height, width)
    bias = np.zeros(channels, np.float32) if source.bias is None else source.bias
    if source.weight.shape != wanted or bias.shape != (channels,):
        raise UserError(
            f"not the file of backbone {name}: {shown} has shape {source.weight.shape} and bias {bias.shape}, not "
            f"{wanted}"
        )
    if not all(part.dtype.kind == "f" and np.isfinite(part).all() for part in (source.weight, bias)):
        raise UserError(f"{shown} holds something other than finite numbers")
    target.kernel.assign(source.weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))
    target.bias.assign(bias)


def _esnet(layers: dict[str, Any]) -> list[keras.layers.Layer | int | None]:
    return [
        conv.convolution
        for layer in layers.values()
        for conv in ([layer] if isinstance(layer, BiasedConvolution) else layer.convolutions())
    ]


def _picodet(layers: dict[str, Any]) -> list[keras.layers.Layer | int | None]:
    """Layers in the order of the file's convolutions: None = not used, a number = last layer of that level.

    The file has four convolutions of the level of stride 64 before the towers, and a last layer after each tower.
    """
    parts = {name: _esnet({name: layer}) for name, layer in layers.items()}
    towers = {
        level: [x for n, part in parts.items() if n.startswith(f"tower_{level}") for x in part] for level in (1, 2, 3)
    }
    others = [x for name, part in parts.items() if not name.startswith("tower") for x in part]
    return [*others, *[None] * 4, *towers[1], 1, *towers[2], 2, *towers[3], 3]


SOURCES: dict[str, Callable[[dict[str, Any]], list[keras.layers.Layer | int | None]]] = {
    "esnet_s": _esnet,
    "picodet_s": _picodet,
}
