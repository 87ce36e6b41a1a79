"""The RPN head of a level: anchor scores and box offsets."""

import keras
from keras import ops

from zip_keras.layers.registry import serializable


@serializable
class ProposalHead(keras.layers.Layer):
    """Conv 3x3 + ReLU, then 1x1 to class scores and 1x1 to box offsets; one for each level, not shared.

    Input `[batch, H, W, C]`; output `(logits [batch, H * W * anchors, classes], offsets [batch, H * W * anchors, 4])`,
    float32 whatever the compute type, in row, column, anchor order. The convolutions start gaussian (0.01) with bias 0
    (paper section 4), whatever comes in.

    Args:
        anchors: anchors of a cell.
        classes: 2 (background, object) or 3 (and gray).
        channels: width of the 3x3 convolution.
    """

    def __init__(self, anchors: int, classes: int, channels: int = 512, **kwargs):
        super().__init__(**kwargs)
        self.anchors, self.classes, self.channels = anchors, classes, channels

        def conv(filters, kernel_size, name, **options):
            gaussian = keras.initializers.RandomNormal(stddev=0.01)
            return keras.layers.Conv2D(filters, kernel_size, kernel_initializer=gaussian, name=name, **options)

        self.convolution = conv(channels, 3, "convolution", padding="same", activation="relu", dtype=self.dtype_policy)
        self.score = conv(anchors * classes, 1, "score", dtype="float32")
        self.offset = conv(anchors * 4, 1, "offset", dtype="float32")

    def build(self, input_shape):
        self.convolution.build(input_shape)
        hidden = (*input_shape[:-1], self.channels)
        self.score.build(hidden)
        self.offset.build(hidden)
        super().build(input_shape)

    def call(self, x):
        x = self.convolution(x)
        batch = ops.shape(x)[0]
        return (
            ops.reshape(self.score(x), (batch, -1, self.classes)),
            ops.reshape(self.offset(x), (batch, -1, 4)),
        )

    def compute_output_spec(self, x):
        batch, height, width, _ = x.shape
        count = height and width and height * width * self.anchors
        return (
            keras.KerasTensor((batch, count, self.classes), "float32"),
            keras.KerasTensor((batch, count, 4), "float32"),
        )

    def get_config(self):
        return {
            **super().get_config(),
            "anchors": self.anchors,
            "classes": self.classes,
            "channels": self.channels,
        }
