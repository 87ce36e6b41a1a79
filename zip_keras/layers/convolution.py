"""Convolution + batch normalisation + activation, the unit of Inception-BN."""

import keras

from zip_keras.layers.registry import serializable

EPSILON = 1e-5  # batch normalisation, as in the public Inception-BN definitions
MOMENTUM = 0.95


def batch_normalisation(
    mode: str, name: str, epsilon: float = EPSILON, momentum: float = MOMENTUM, dtype=None
) -> keras.layers.Layer:
    """Create a batch normalisation layer in one of the modes of `ModelConfig.batch_norm`.

    "frozen" fixes statistics, scale and shift. "synchronized" shares statistics between replicas; "local" does not. The
    option is set only on TensorFlow, because the other backends always normalise the whole batch.
    """
    if mode not in ("frozen", "synchronized", "local"):
        raise ValueError(f"batch_norm must be 'frozen', 'synchronized' or 'local', not {mode!r}")
    return keras.layers.BatchNormalization(
        momentum=momentum,
        epsilon=epsilon,
        trainable=mode != "frozen",
        synchronized=mode == "synchronized" and keras.backend.backend() == "tensorflow",
        dtype=dtype,
        name=name,
    )


def trained_batch_norm(mode: str) -> str:
    """Return the mode for randomly initialised blocks in a network of `mode`: they have no statistics to freeze."""
    return "synchronized" if mode == "frozen" else mode


@serializable
class ConvNorm(keras.layers.Layer):
    """Convolution without bias, batch normalisation, ReLU.

    Input `[batch, H, W, C]`, output `[batch, ceil(H / stride), ceil(W / stride), filters]`. The padding is symmetric,
    `kernel_size // 2` on every side as in Caffe and PyTorch, so pretrained weights see the grid they were trained on.
    TensorFlow's "same" shifts the grid for stride 2 and even sizes.
    """

    def __init__(self, filters: int, kernel_size: int, stride: int = 1, *, batch_norm: str = "synchronized", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.stride, self.batch_norm = filters, kernel_size, stride, batch_norm
        self.pad = (
            keras.layers.ZeroPadding2D(kernel_size // 2, dtype=self.dtype_policy, name="pad") if stride > 1 else None
        )
        self.convolution = keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding="same" if stride == 1 else "valid",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.normalisation = batch_normalisation(batch_norm, "normalisation", dtype=self.dtype_policy)

    def build(self, input_shape):
        if self.pad is not None:
            input_shape = self.pad.compute_output_shape(input_shape)
        self.convolution.build(input_shape)
        self.normalisation.build(self.convolution.compute_output_shape(input_shape))
        super().build(input_shape)

    def call(self, x, training=None):
        x = x if self.pad is None else self.pad(x)
        return keras.ops.relu(self.normalisation(self.convolution(x), training=training))

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height and -(-height // self.stride), width and -(-width // self.stride), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "batch_norm": self.batch_norm,
        }
