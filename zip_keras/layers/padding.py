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
        return ops.pad(x, [[0, 0], [0, self._missing(height)], [0, self._missing(width)], [0, 0]])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        height, width = (side and side + self._missing(side) for side in (height, width))
        return (batch, height, width, channels)

    def _missing(self, side):
        """Pixels to the next multiple; no remainder of a negative number, which ONNX converters round another way."""
        return (self.multiple - side % self.multiple) % self.multiple

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}
