"""Padding at the bottom and right to whole cells of the coarsest level."""

import keras
from keras import ops

from zip_keras.layers.registry import serializable


@serializable
class PadToMultiple(keras.layers.Layer):
    """Pads `[batch, H, W, C]` with zeros at the bottom and right until H and W are multiples of `multiple`.

    Coordinates from the top left corner, so boxes, stay as they are. H and W may be unknown until run time.
    """

    def __init__(self, multiple: int = 32, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        _, height, width, _ = ops.shape(x)
        return ops.pad(x, [[0, 0], [0, -height % self.multiple], [0, -width % self.multiple], [0, 0]])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and height + -height % self.multiple, width and width + -width % self.multiple, channels)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}
