"""Blocks of PicoDet: shuffle blocks with squeeze-and-excitation (ESNet), and the block of its neck.

Yu et al., *PP-PicoDet*, arXiv 2111.00902, section 2.1. There is no batch normalisation: the public weights have it
folded into the convolutions, which therefore have a bias.
"""

import keras
from keras import ops

from zip_keras.layers.registry import serializable


@serializable
class BiasedConvolution(keras.layers.Layer):
    """Convolution with bias, then an activation such as hard-swish.

    Input `[batch, H, W, C]`, output `[batch, ceil(H / stride), ceil(W / stride), filters]`. The padding is symmetric,
    `kernel_size // 2` on every side.

    Args:
        filters: output channels; 0 = depthwise, with the channels of the input.
        kernel_size, stride: of the convolution.
        activation: a name of `keras.activations`.
    """

    def __init__(self, filters: int, kernel_size: int = 1, stride: int = 1, *, activation: str = "hard_silu", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.stride, self.activation = filters, kernel_size, stride, activation
        self._activate = keras.activations.get(activation)
        options = {
            "strides": stride,
            "padding": "same" if stride == 1 else "valid",
            "dtype": self.dtype_policy,
            "name": "convolution",
        }
        if filters:
            self.convolution = keras.layers.Conv2D(filters, kernel_size, kernel_initializer="he_normal", **options)
        else:
            self.convolution = keras.layers.DepthwiseConv2D(kernel_size, depthwise_initializer="he_normal", **options)

    def build(self, input_shape):
        self.convolution.build(input_shape)
        super().build(input_shape)

    def call(self, x):
        if self.stride > 1 and self.kernel_size > 1:
            pad = self.kernel_size // 2
            x = ops.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return self._activate(self.convolution(x))

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        height, width = (size and (size + self.stride - 1) // self.stride for size in (height, width))
        return (batch, height, width, self.filters or channels)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "activation": self.activation,
        }


@serializable
class MaxPooling(keras.layers.Layer):
    """3x3 max pool with stride 2, padded by one cell on every side.

    The padding is below the minimum of hard-swish, -0.375. Input `[batch, H, W, C]`, output
    `[batch, ceil(H / 2), ceil(W / 2), C]`.
    """

    def call(self, x):
        x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=-1.0)
        return ops.max_pool(x, 3, strides=2, padding="valid")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and (height + 1) // 2, width and (width + 1) // 2, channels)


@serializable
class ChannelGate(keras.layers.Layer):
    """Squeeze-and-excitation: scales channels by global mean, 1x1 to C/4, ReLU, 1x1 to C, hard-sigmoid.

    Input and output `[batch, H, W, C]`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.squeeze = self.excite = None  # their widths depend on the input

    def build(self, input_shape):
        channels = input_shape[-1]
        options = {"dtype": self.dtype_policy}
        self.squeeze = BiasedConvolution(channels // 4, activation="relu", name="squeeze", **options)
        self.excite = BiasedConvolution(channels, activation="hard_sigmoid", name="excite", **options)
        self.squeeze.build((input_shape[0], 1, 1, channels))
        self.excite.build((input_shape[0], 1, 1, channels // 4))
        super().build(input_shape)

    def call(self, x):
        return x * self.excite(self.squeeze(ops.mean(x, axis=(1, 2), keepdims=True)))

    def compute_output_shape(self, input_shape):
        return input_shape


class _Block(keras.layers.Layer):
    """Base of both shuffle blocks: their widths and the order of their parts."""

    PARTS: tuple[str, ...] = ()

    def __init__(self, filters: int, hidden: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.hidden = filters, hidden

    def _part(self, name: str, filters: int, kernel_size: int = 1, stride: int = 1, activation: str = "hard_silu"):
        return BiasedConvolution(
            filters, kernel_size, stride, activation=activation, dtype=self.dtype_policy, name=name
        )

    def convolutions(self) -> list[BiasedConvolution]:
        """The convolutions in order of computation, which is the order of the public files."""
        found: list[BiasedConvolution] = []
        for part in (getattr(self, name) for name in self.PARTS):
            found += [part.squeeze, part.excite] if isinstance(part, ChannelGate) else [part]
        return found

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "hidden": self.hidden}


@serializable
class ShuffleBlock(_Block):
    """Block that convolves half of the channels and interleaves them with the unchanged other half.

    Input and output `[batch, H, W, filters]`.

    Args:
        filters: channels, a multiple of 2.
        hidden: channels of the depthwise convolution; its output is concatenated with its input.
    """

    PARTS = ("expand", "depthwise", "gate", "project")

    def __init__(self, filters: int, hidden: int, **kwargs):
        super().__init__(filters, hidden, **kwargs)
        self.expand = self._part("expand", hidden)
        self.depthwise = self._part("depthwise", 0, 3, activation="linear")
        self.gate = ChannelGate(dtype=self.dtype_policy, name="gate")
        self.project = self._part("project", filters // 2)

    def build(self, input_shape):
        shape = tuple(input_shape[:-1])
        self.expand.build((*shape, self.filters // 2))
        self.depthwise.build((*shape, self.hidden))
        self.gate.build((*shape, 2 * self.hidden))
        self.project.build((*shape, 2 * self.hidden))
        super().build(input_shape)

    def call(self, x):
        kept, y = ops.split(x, 2, axis=-1)
        y = self.expand(y)
        y = ops.concatenate([y, self.depthwise(y)], axis=-1)
        y = self.project(self.gate(y))
        batch, height, width, _ = ops.shape(x)
        pairs = ops.stack([kept, y], axis=-1)  # [B, H, W, filters / 2, 2]
        return ops.reshape(pairs, (batch, height, width, self.filters))

    def compute_output_shape(self, input_shape):
        return input_shape


@serializable
class ShuffleReduction(_Block):
    """Two branches of stride 2 with half of the channels each, concatenated and mixed by a separable convolution.

    Input `[batch, H, W, C]`, output `[batch, ceil(H / 2), ceil(W / 2), filters]`.

    Args:
        filters: output channels, a multiple of 2.
        hidden: channels of the second branch's depthwise convolution.
    """

    PARTS = ("short_depthwise", "short_project", "expand", "depthwise", "gate", "project", "mix_depthwise", "mix")

    def __init__(self, filters: int, hidden: int, **kwargs):
        super().__init__(filters, hidden, **kwargs)
        self.short_depthwise = self._part("short_depthwise", 0, 3, 2, activation="linear")
        self.short_project = self._part("short_project", filters // 2)
        self.expand = self._part("expand", hidden)
        self.depthwise = self._part("depthwise", 0, 3, 2, activation="linear")
        self.gate = ChannelGate(dtype=self.dtype_policy, name="gate")
        self.project = self._part("project", filters // 2)
        self.mix_depthwise = self._part("mix_depthwise", 0, 3)
        self.mix = self._part("mix", filters)

    def build(self, input_shape):
        shape = tuple(input_shape[:-1])
        self.short_depthwise.build(input_shape)
        self.short_project.build(input_shape)
        self.expand.build(input_shape)
        for part in (self.depthwise, self.gate, self.project):
            part.build((*shape, self.hidden))
        for part in (self.mix_depthwise, self.mix):
            part.build((*shape, self.filters))
        super().build(input_shape)

    def call(self, x):
        short = self.short_project(self.short_depthwise(x))
        y = self.project(self.gate(self.depthwise(self.expand(x))))
        return self.mix(self.mix_depthwise(ops.concatenate([short, y], axis=-1)))

    def compute_output_shape(self, input_shape):
        return (*self.depthwise.compute_output_shape(input_shape)[:-1], self.filters)


@serializable
class CrossStageBlock(keras.layers.Layer):
    """Cross-stage partial block: a 1x1 convolution and a deeper branch with half of the channels each.

    Input `[batch, H, W, C]`, output `[batch, H, W, filters]`. The deeper branch is 1x1, 1x1, depthwise 5x5, 1x1. A last
    1x1 convolution mixes both. PP-PicoDet, section 2.2.

    Args:
        filters: output channels, a multiple of 2.
    """

    PARTS = ("short", "enter", "expand", "depthwise", "project", "mix")

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        half, options = filters // 2, {"dtype": self.dtype_policy}
        self.short = BiasedConvolution(half, name="short", **options)
        self.enter = BiasedConvolution(half, name="enter", **options)
        self.expand = BiasedConvolution(half, name="expand", **options)
        self.depthwise = BiasedConvolution(0, 5, name="depthwise", **options)
        self.project = BiasedConvolution(half, name="project", **options)
        self.mix = BiasedConvolution(filters, name="mix", **options)

    def build(self, input_shape):
        shape = tuple(input_shape[:-1])
        for part in (self.short, self.enter):
            part.build(input_shape)
        for part in (self.expand, self.depthwise, self.project):
            part.build((*shape, self.filters // 2))
        self.mix.build((*shape, self.filters))
        super().build(input_shape)

    def call(self, x):
        deep = self.project(self.depthwise(self.expand(self.enter(x))))
        return self.mix(ops.concatenate([deep, self.short(x)], axis=-1))

    def convolutions(self) -> list[BiasedConvolution]:
        """The convolutions in the order of the public files."""
        return [getattr(self, name) for name in self.PARTS]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@serializable
class NearestUpsampling(keras.layers.Layer):
    """Repeat rows and columns: `[batch, H, W, C]` -> `[batch, 2H, 2W, C]`. H and W may be unknown until run time."""

    def call(self, x):
        return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and 2 * height, width and 2 * width, channels)
