"""Up-sampling of maps by a factor of two: bilinear (the paper's choice) or learned."""

import keras
from keras import ops

from zip_keras.layers.registry import serializable


@serializable
class BilinearUpsampling(keras.layers.Layer):
    """Double height and width by bilinear interpolation (half-pixel centres).

    Input `[batch, H, W, C]`, output `[batch, 2H, 2W, C]`, same dtype; H and W may be unknown until run time.
    Paper section 3.1: bilinear up-sampling before a convolution beats a learned deconvolution. It is computed as a
    weighted sum of neighbours because `keras.ops.image.resize` cannot be traced with unknown sizes.
    """

    def call(self, x):
        for axis in (1, 2):
            x = _double(x, axis)
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and 2 * height, width and 2 * width, channels)


def upsampling(kind: str, channels: int, name: str, dtype=None) -> keras.layers.Layer:
    """Create the layer that doubles a map of `channels`: kind "bilinear", or "deconv" (4x4, stride 2, learned)."""
    if kind not in ("bilinear", "deconv"):
        raise ValueError(f"upsampling must be 'bilinear' or 'deconv', not {kind!r}")
    if kind == "bilinear":
        return BilinearUpsampling(dtype=dtype, name=name)
    return keras.layers.Conv2DTranspose(channels, 4, strides=2, padding="same", dtype=dtype, name=name)


def _double(x, axis: int):
    """Interleave 3/4 self + 1/4 previous and 3/4 self + 1/4 next along `axis`; edges are repeated."""
    first, last = _slice(x, axis, 0, 1), _slice(x, axis, -1, None)
    previous = ops.concatenate([first, _slice(x, axis, 0, -1)], axis=axis)
    following = ops.concatenate([_slice(x, axis, 1, None), last], axis=axis)
    pairs = ops.stack([0.75 * x + 0.25 * previous, 0.75 * x + 0.25 * following], axis=axis + 1)
    batch, height, width, channels = ops.shape(x)
    return ops.reshape(
        pairs, (batch, 2 * height, width, channels) if axis == 1 else (batch, height, 2 * width, channels)
    )


def _slice(x, axis: int, start: int | None, stop: int | None):
    return x[(slice(None),) * axis + (slice(start, stop),)]
