"""Padding of images to whole cells of the coarsest level, and the mask of cells outside the padding."""

import keras
from keras import ops

from zip_keras.layers.registry import serializable
from zip_keras.pixels import PADDING


@serializable
class PadToMultiple(keras.layers.Layer):
    """Pad `[batch, H, W, C]` with `value` at the bottom and right until H and W are multiples of `multiple`.

    Box coordinates do not change. H and W may be unknown until run time.
    """

    def __init__(self, multiple: int = 32, value: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.multiple, self.value = multiple, value

    def call(self, x):
        _, height, width, _ = ops.shape(x)
        missing = [[0, 0], [0, self._missing(height)], [0, self._missing(width)], [0, 0]]
        return ops.pad(x, missing, constant_values=self.value)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        height, width = (side and side + self._missing(side) for side in (height, width))
        return (batch, height, width, channels)

    def _missing(self, side):
        """Pixels to the next multiple, without remainders of negative numbers: ONNX converters round differently."""
        return (self.multiple - side % self.multiple) % self.multiple

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple, "value": self.value}


def is_padding(images):
    """Mask of padding pixels (`zip_keras.pixels.PADDING`): `[..., H, W, 3]` -> bool `[..., H, W, 1]`."""
    return images[..., :1] <= PADDING / 2


@serializable
class ValidCells(keras.layers.Layer):
    """Mask of the map cells that cover the image: 1 for these, 0 for cells in the padding.

    Input: images `[batch, H, W, 3]` with H and W multiples of `stride`, padded with `zip_keras.pixels.PADDING` at the
    bottom and right. Output: `[batch, H / stride, W / stride, 1]`. A cell covers the image if its top left pixel does,
    so the first cell is valid for an image of any size.
    """

    def __init__(self, stride: int, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        self.stride = stride

    def call(self, images):
        first = images[:, :: self.stride, :: self.stride]
        return ops.cast(ops.logical_not(is_padding(first)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, *(side and -(-side // self.stride) for side in (height, width)), 1)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}
