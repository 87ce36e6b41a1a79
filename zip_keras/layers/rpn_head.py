"""RPN head of a level: anchor scores, box deltas and their recursive refinement."""

import keras
from keras import ops

from zip_keras.layers.registry import serializable
from zip_keras.ops import boxes as box_ops

# Standard deviations by which Faster R-CNN divides the deltas of its second stage. Here they scale deltas to features.
DELTA_STDDEVS = (0.1, 0.1, 0.2, 0.2)


# A new head predicts an IoU of .02, near the mean over all anchors. Otherwise the anchors, nearly all of which are
# background, would dominate the first steps.
QUALITY_BIAS = -4.0


def _gaussian(filters: int, kernel_size: int, name: str, padding: str = "valid", **options) -> keras.layers.Conv2D:
    start = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Conv2D(filters, kernel_size, padding=padding, kernel_initializer=start, name=name, **options)


@serializable
class RPNHead(keras.layers.Layer):
    """3x3 convolution + ReLU, then 1x1 convolutions to class scores and box deltas; not shared between levels.

    Input `[batch, H, W, C]`; output `(logits [batch, H * W * A, K], deltas [batch, H * W * A, 4])`, float32 for every
    compute dtype, ordered by row, column and anchor. Weights start Gaussian with standard deviation 0.01, biases at 0
    (paper section 4).

    Args:
        num_anchors: A, anchors per cell.
        num_classes: K: 2 (background, object), 3 (with gray), or the classes and background of a one-stage detector.
        channels: width of the 3x3 convolution.
        quality: also predict the IoU of each anchor's box: a third output, logits `[batch, H * W * A]`, float32.
    """

    def __init__(self, num_anchors: int, num_classes: int, channels: int = 512, quality: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.num_anchors, self.num_classes, self.channels, self.quality = num_anchors, num_classes, channels, quality

        self.convolution = _gaussian(channels, 3, "convolution", "same", activation="relu", dtype=self.dtype_policy)
        self.score = _gaussian(num_anchors * num_classes, 1, "score", dtype="float32")
        self.deltas = _gaussian(num_anchors * 4, 1, "deltas", dtype="float32")
        self.iou = None
        if quality:
            bias = keras.initializers.Constant(QUALITY_BIAS)
            self.iou = _gaussian(num_anchors, 1, "iou", dtype="float32", bias_initializer=bias)

    def build(self, input_shape):
        self.convolution.build(input_shape)
        hidden = (*input_shape[:-1], self.channels)
        self.score.build(hidden)
        self.deltas.build(hidden)
        if self.iou is not None:
            self.iou.build(hidden)
        super().build(input_shape)

    def call(self, x):
        x = self.convolution(x)
        answer = self.by_anchor(self.score(x), self.deltas(x))
        return answer if self.iou is None else (*answer, ops.reshape(self.iou(x), (ops.shape(x)[0], -1)))

    def by_anchor(self, scores, deltas):
        """Reshape the maps of the 1x1 convolutions to lists of anchors."""
        batch = ops.shape(scores)[0]
        return ops.reshape(scores, (batch, -1, self.num_classes)), ops.reshape(deltas, (batch, -1, 4))

    def compute_output_spec(self, x):
        batch, height, width, _ = x.shape
        count = height and width and height * width * self.num_anchors
        answer = (
            keras.KerasTensor((batch, count, self.num_classes), "float32"),
            keras.KerasTensor((batch, count, 4), "float32"),
        )
        return (*answer, keras.KerasTensor((batch, count), "float32")) if self.quality else answer

    def get_config(self):
        return {
            **super().get_config(),
            "num_anchors": self.num_anchors,
            "num_classes": self.num_classes,
            "channels": self.channels,
            "quality": self.quality,
        }


@serializable
class RefiningRPNHead(RPNHead):
    """RPN head that scores and refines its own boxes again, `steps` times: recursive training (docs/method.md).

    A step reads the hidden map of the head's 3x3 convolution and the current boxes as deltas from their anchors. A 1x1
    convolution + ReLU and 1x1 convolutions to scores and deltas follow. All steps share these weights and receive only
    the boxes of the previous step, so any number of steps can follow.

    Input `[batch, H, W, C]`; output `(logits, deltas, hidden, steps)`: the first two as in `RPNHead`, `hidden
    [batch, H, W, channels]`, and `(logits, deltas, starts)` for each step. `starts [batch, N, 4]` are the deltas from
    the anchors to the input boxes of the step, without gradient. `deltas` are relative to these boxes. All are float32.

    Args:
        steps: number of steps after the head's own output.
    """

    def __init__(self, num_anchors: int, num_classes: int, channels: int = 512, steps: int = 1, **kwargs):
        super().__init__(num_anchors, num_classes, channels, **kwargs)
        self.steps = steps
        options = {"activation": "relu", "kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.refinement = keras.layers.Conv2D(channels, 1, name="refinement", **options)
        self.refined_score = _gaussian(num_anchors * num_classes, 1, "refined_score", dtype="float32")
        self.refined_deltas = _gaussian(num_anchors * 4, 1, "refined_deltas", dtype="float32")

    def build(self, input_shape):
        super().build(input_shape)
        self.refinement.build((*input_shape[:-1], self.channels + 4 * self.num_anchors))
        for layer in (self.refined_score, self.refined_deltas):
            layer.build((*input_shape[:-1], self.channels))

    def call(self, x):
        hidden = self.convolution(x)
        logits, deltas = self.by_anchor(self.score(hidden), self.deltas(hidden))
        steps = []
        starts = box_ops.limit(ops.stop_gradient(deltas))
        for _ in range(self.steps):
            steps.append((*self.refine(hidden, starts), starts))
            starts = self.advance(*steps[-1][1:])
        return logits, deltas, ops.cast(hidden, "float32"), tuple(steps)

    def refine(self, hidden, starts):
        """Run one step on the boxes at `starts` `[batch, N, 4]`: their logits, and deltas relative to them."""
        batch, height, width, _ = ops.shape(hidden)
        where = ops.reshape(starts / ops.convert_to_tensor(DELTA_STDDEVS), (batch, height, width, 4 * self.num_anchors))
        x = self.refinement(ops.concatenate([hidden, ops.cast(where, hidden.dtype)], axis=-1))
        return self.by_anchor(self.refined_score(x), self.refined_deltas(x))

    @staticmethod
    def advance(deltas, starts):
        """The starts of the next step, after a step that moved the boxes at `starts` by `deltas`; no gradient."""
        return box_ops.limit(box_ops.compose(starts, ops.stop_gradient(deltas)))

    def compute_output_spec(self, x):
        hidden = keras.KerasTensor((*x.shape[:-1], self.channels), "float32")
        steps = []
        for _ in range(self.steps):  # separate tensors for each step: a graph distinguishes them by identity
            logits, deltas = super().compute_output_spec(x)
            steps.append((logits, deltas, keras.KerasTensor(deltas.shape, "float32")))
        return (*super().compute_output_spec(x), hidden, tuple(steps))

    def get_config(self):
        config = super().get_config()
        del config["quality"]
        return {**config, "steps": self.steps}
