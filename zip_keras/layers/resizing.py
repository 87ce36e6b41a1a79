"""Resizing images to the size at which a network looks at them."""

import keras
from keras import ops

from zip_keras.layers.registry import serializable


def scale_factor(height, width, short_side: int, long_side: int):
    """The factor that makes the shorter side `short_side`, unless the longer one would pass `long_side`.

    Args:
        height, width: pixels, float32 scalars or Python numbers.

    Returns:
        a float32 scalar.
    """
    height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
    return ops.minimum(short_side / ops.minimum(height, width), long_side / ops.maximum(height, width))


@serializable
class ShortSideResizing(keras.layers.Layer):
    """Resizes a batch of equally large images, bilinear with antialiasing, keeping the aspect ratio to the pixel.

    Input `[batch, H, W, 3]`, any dtype, 0..255; output `[batch, H', W', 3]` float32 with `H' = max(1, round(H s))`,
    `W'` likewise, and `s` from `scale_factor`. `short_side=None` only casts.
    """

    def __init__(self, short_side: int | None = None, long_side: int = 1000, **kwargs):
        super().__init__(**kwargs)
        self.short_side, self.long_side = short_side, long_side

    def call(self, images):
        images = ops.cast(images, "float32")
        if self.short_side is None:
            return images
        _, height, width, _ = ops.shape(images)
        factor = scale_factor(height, width, self.short_side, self.long_side)
        sides = [
            ops.maximum(ops.cast(ops.round(ops.cast(side, "float32") * factor), "int32"), 1) for side in (height, width)
        ]
        if keras.backend.backend() == "tensorflow":  # keras.ops cannot resize to a size known only at run time
            import tensorflow as tf

            return tf.image.resize(images, tf.stack(sides), antialias=True)
        return ops.image.resize(images, tuple(int(side) for side in sides), antialias=True)

    def compute_output_shape(self, input_shape):
        if self.short_side is None:
            return input_shape
        return (input_shape[0], None, None, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "short_side": self.short_side, "long_side": self.long_side}
