"""Resizing of images to the network's scale."""

import keras
import numpy as np
from keras import ops

from zip_keras.layers.registry import serializable
from zip_keras.ops.converting import conversion_target
from zip_keras.ops.resampling import resize_by_matrices


def resized_sides(height, width, short_side: int, long_side: int):
    """The size with a shorter side of `short_side`, reduced if the longer side would exceed `long_side`.

    Args:
        height, width: pixels; Python integers, or integer scalars of a TensorFlow graph.

    Returns:
        (height, width), each at least 1, of the same kind as the arguments. Rounding is in float32 for both kinds.
    """
    if isinstance(height, int) and isinstance(width, int):  # under `jax.jit` sizes must stay Python integers
        short, long = np.float32(min(height, width)), np.float32(max(height, width))
        factor = min(np.float32(short_side) / short, np.float32(long_side) / long)
        return tuple(max(1, int(np.round(np.float32(side) * factor))) for side in (height, width))
    sides = ops.cast(ops.stack([height, width]), "float32")
    factor = ops.minimum(short_side / ops.min(sides), long_side / ops.max(sides))
    sides = ops.maximum(ops.cast(ops.round(sides * factor), "int32"), 1)
    return sides[0], sides[1]


@serializable
class ShortSideResizing(keras.layers.Layer):
    """Resize a batch of images of one size: bilinear with antialiasing, aspect ratio kept up to rounding.

    Input `[batch, H, W, 3]`, any dtype, 0..255; output `[batch, H', W', 3]` float32 with `H' = max(1, round(H s))`,
    `W'` likewise; see `resized_sides`. `short_side=None` only casts.
    """

    def __init__(self, short_side: int | None = None, long_side: int = 1000, **kwargs):
        super().__init__(**kwargs)
        self.short_side, self.long_side = short_side, long_side

    def call(self, images):
        images = ops.cast(images, "float32")
        if self.short_side is None:
            return images
        _, height, width, _ = ops.shape(images)
        sides = resized_sides(height, width, self.short_side, self.long_side)
        if conversion_target() == "litert":
            return resize_by_matrices(images, *sides)
        if keras.backend.backend() == "tensorflow":  # keras.ops cannot resize to a size known only at run time
            import tensorflow as tf

            return tf.image.resize(images, tf.stack(sides), antialias=True)
        return ops.image.resize(images, sides, antialias=True)

    def compute_output_shape(self, input_shape):
        if self.short_side is None:
            return input_shape
        return (input_shape[0], None, None, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "short_side": self.short_side, "long_side": self.long_side}
