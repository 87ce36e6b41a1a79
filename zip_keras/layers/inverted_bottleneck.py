"""Blocks of the MobileNetV2 family: convolution with batch norm and ReLU6, and the inverted bottleneck.

Sandler et al., *MobileNetV2*, arXiv 1801.04381; without squeeze-and-excitation, as in EfficientNet-Lite.
"""

import keras
from keras import ops

from zip_keras.layers.convolution import batch_normalisation
from zip_keras.layers.registry import serializable

# Batch normalisation, as in the TensorFlow reference.
EPSILON = 1e-3
MOMENTUM = 0.99


@serializable
class MobileConvNorm(keras.layers.Layer):
    """Convolution without bias, batch normalisation and optional ReLU6.

    Input `[batch, H, W, C]`, output `[batch, ceil(H / stride), ceil(W / stride), filters]`. The padding is TensorFlow's
    "same": for stride 2 and even sizes, the extra row and column are at the bottom and right.

    Args:
        filters: output channels; 0 = depthwise, with the channels of the input.
        kernel_size, stride: of the convolution.
        activation: "relu6" or "linear".
        batch_norm: see `batch_normalisation`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        stride: int = 1,
        *,
        activation: str = "relu6",
        batch_norm: str = "synchronized",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.stride = filters, kernel_size, stride
        self.activation, self.batch_norm = activation, batch_norm
        options = {
            "strides": stride,
            "padding": "same",
            "use_bias": False,
            "dtype": self.dtype_policy,
            "name": "convolution",
        }
        fan_out = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        if filters:
            self.convolution = keras.layers.Conv2D(filters, kernel_size, kernel_initializer=fan_out, **options)
        else:
            self.convolution = keras.layers.DepthwiseConv2D(kernel_size, depthwise_initializer=fan_out, **options)
        self.normalisation = batch_normalisation(batch_norm, "normalisation", EPSILON, MOMENTUM, self.dtype_policy)

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.normalisation.build(self.convolution.compute_output_shape(input_shape))
        super().build(input_shape)

    def call(self, x, training=None):
        x = self.normalisation(self.convolution(x), training=training)
        return ops.relu6(x) if self.activation == "relu6" else x

    def compute_output_shape(self, input_shape):
        return self.convolution.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "activation": self.activation,
            "batch_norm": self.batch_norm,
        }


@serializable
class InvertedBottleneck(keras.layers.Layer):
    """1x1 expansion, depthwise convolution and linear 1x1 projection, plus the input if the shapes agree.

    Input `[batch, H, W, C]`, output `[batch, ceil(H / stride), ceil(W / stride), filters]`, without activation.

    Args:
        filters: output channels.
        kernel_size, stride: of the depthwise convolution.
        expansion: channels of the depthwise convolution relative to the input's; 1 = no expansion.
        batch_norm: see `batch_normalisation`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        stride: int = 1,
        expansion: int = 6,
        *,
        batch_norm: str = "synchronized",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.stride = filters, kernel_size, stride
        self.expansion, self.batch_norm = expansion, batch_norm
        self.expand: MobileConvNorm | None = None  # its width depends on the input
        options = {"batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.depthwise = MobileConvNorm(0, kernel_size, stride, name="depthwise", **options)
        self.project = MobileConvNorm(filters, 1, activation="linear", name="project", **options)
        self.skip = False

    def build(self, input_shape):
        width = input_shape[-1] * self.expansion
        shape = (*input_shape[:-1], width)
        if self.expansion != 1:
            self.expand = MobileConvNorm(width, 1, batch_norm=self.batch_norm, dtype=self.dtype_policy, name="expand")
            self.expand.build(input_shape)
        self.depthwise.build(shape)
        self.project.build(shape)
        self.skip = self.stride == 1 and input_shape[-1] == self.filters
        super().build(input_shape)

    def call(self, x, training=None):
        y = x if self.expand is None else self.expand(x, training=training)
        y = self.project(self.depthwise(y, training=training), training=training)
        return x + y if self.skip else y

    def compute_output_shape(self, input_shape):
        return (*self.depthwise.compute_output_shape(input_shape)[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "expansion": self.expansion,
            "batch_norm": self.batch_norm,
        }
