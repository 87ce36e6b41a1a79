"""The interface of a backbone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from zip_keras.layers.inception import InceptionRow
from zip_keras.layers.padding import is_padding
from zip_keras.layers.registry import serializable


@serializable
class Preprocessing(keras.layers.Layer):
    """Convert RGB pixels 0..255 of any dtype to a backbone's input: `(x - mean) / scale`, and BGR order if needed.

    Padding (`zip_keras.pixels.PADDING`) becomes 0, like pixels of the mean colour.

    Args:
        mean, scale: three numbers each, in RGB order.
        bgr: reverse the channels afterwards.
    """

    def __init__(self, mean, scale=(1.0, 1.0, 1.0), bgr: bool = False, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # bfloat16 is too coarse before the mean is removed
        self.mean, self.scale, self.bgr = tuple(mean), tuple(scale), bgr

    def call(self, x):
        mean, scale = (ops.convert_to_tensor(numbers, "float32") for numbers in (self.mean, self.scale))
        x = ops.cast(x, "float32")
        x = ops.where(is_padding(x), 0.0, (x - mean) / scale)
        return ops.cast(ops.flip(x, axis=-1) if self.bgr else x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mean": self.mean, "scale": self.scale, "bgr": self.bgr}


@dataclass(frozen=True)
class BackboneMaps:
    """Maps and layers of a built backbone.

    Attributes:
        maps: F1, F2, F3: symbolic tensors `[batch, H/s, W/s, C]` for s = 8, 16, 32.
        layers: the backbone's layers by block name, in the order of the graph, for freezing and copying.
        neighbours: the inputs of the blocks whose outputs are F1 and F2, at the same strides; None if the backbone does
            not define them.
    """

    maps: tuple[Any, Any, Any]
    layers: dict[str, keras.layers.Layer]
    neighbours: tuple[Any, Any] | None = None


@dataclass(frozen=True)
class Backbone:
    """A zoom-out network.

    Attributes:
        mean, scale, bgr: see `Preprocessing`.
        build: (image, ModelConfig) -> BackboneMaps; the image is preprocessed and padded to a multiple of 32.
        mirror: rows of the inception blocks that the zoom-in stream mirrors, by name, before `ModelConfig.width`.
        mirror_weights: whether the mirrored rows are this backbone's own blocks, so that their weights can be copied.
        deepens: whether it has blocks that `ModelConfig.deepen` can repeat.
    """

    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    bgr: bool
    build: Callable[..., BackboneMaps]
    mirror: dict[str, InceptionRow]
    mirror_weights: bool
    deepens: bool = False
