"""Residual bottleneck of ResNet (He et al., arXiv 1512.03385), as in the paper's second stage (section 4)."""

import keras
from keras import ops

from zip_keras.layers.convolution import batch_normalisation
from zip_keras.layers.registry import serializable

EPSILON, MOMENTUM = 1.001e-5, 0.99  # batch normalisation, as in `keras.applications`
GROUPS = 32


def normalisation(kind: str, channels: int, name: str, dtype=None) -> keras.layers.Layer:
    """Create a batch normalisation layer in a mode of `ModelConfig.batch_norm`, or a "group" normalisation layer."""
    if kind == "group":
        groups = next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0)
        return keras.layers.GroupNormalization(groups, epsilon=1e-5, dtype=dtype, name=name)
    return batch_normalisation(kind, name, EPSILON, MOMENTUM, dtype)


@serializable
class Bottleneck(keras.layers.Layer):
    """Normalised 1x1, 3x3 and 1x1 convolutions, added to their input or a projection of it, then ReLU.

    Input `[batch, H, W, C]`, output `[batch, ceil(H / stride), ceil(W / stride), filters]`. The sublayers match a block
    of `keras.applications.ResNet101` (biases, stride in the first convolution), so its weights can be loaded.

    Args:
        filters: output channels; the inner convolutions have a quarter as many.
        stride: stride of the first convolution and of the projection.
        normalise: "frozen", "synchronized", "local" (batch normalisation) or "group".
    """

    def __init__(self, filters: int, stride: int = 1, *, normalise: str = "synchronized", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride, self.normalise = filters, stride, normalise
        shapes = {"1": (filters // 4, 1, stride), "2": (filters // 4, 3, 1), "3": (filters, 1, 1)}
        self.convolutions: dict[str, keras.layers.Layer] = {}
        self.normalisations: dict[str, keras.layers.Layer] = {}
        for name, shape in shapes.items():
            self._add_branch(name, *shape)
        self.projects = False

    def _add_branch(self, name: str, filters: int, size: int, stride: int) -> None:
        self.convolutions[name] = keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name=f"{name}_conv",
        )
        self.normalisations[name] = normalisation(self.normalise, filters, f"{name}_bn", self.dtype_policy)

    def build(self, input_shape):
        self.projects = self.stride > 1 or input_shape[-1] != self.filters
        if self.projects:
            self._add_branch("0", self.filters, 1, self.stride)
            self._build_branch("0", input_shape)
        shape = input_shape
        for name in ("1", "2", "3"):
            shape = self._build_branch(name, shape)
        super().build(input_shape)

    def _build_branch(self, name: str, shape):
        self.convolutions[name].build(shape)
        shape = self.convolutions[name].compute_output_shape(shape)
        self.normalisations[name].build(shape)
        return shape

    def call(self, x, training=None):
        short = self._branch("0", x, training) if self.projects else x
        for name in ("1", "2"):
            x = ops.relu(self._branch(name, x, training))
        return ops.relu(self._branch("3", x, training) + short)

    def _branch(self, name: str, x, training):
        return self.normalisations[name](self.convolutions[name](x), training=training)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height and -(-height // self.stride), width and -(-width // self.stride), self.filters)

    def get_config(self):
        own = {"filters": self.filters, "stride": self.stride, "normalise": self.normalise}
        return {**super().get_config(), **own}
