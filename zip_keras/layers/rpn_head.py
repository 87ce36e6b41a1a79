"""The RPN head of a level: anchor scores and box deltas, and their recursive refinement."""

import keras
from keras import ops

from zip_keras.ops import boxes as box_ops
from zip_keras.layers.registry import serializable

# Usual deviations of deltas, by which Faster R-CNN divides those of its second stage: they make features of boxes.
DELTA_STDDEVS = (0.1, 0.1, 0.2, 0.2)


def _gaussian(filters: int, kernel_size: int, name: str, padding: str = "valid", **options) -> keras.layers.Conv2D:
    start = keras.initializers.RandomNormal(stddev=0.01)
    return keras.layers.Conv2D(filters, kernel_size, padding=padding, kernel_initializer=start, name=name, **options)


@serializable
class RPNHead(keras.layers.Layer):
    """Conv 3x3 + ReLU, then 1x1 to class scores and 1x1 to box deltas; one for each level, not shared.

    Input `[batch, H, W, C]`; output `(logits [batch, H * W * anchors, classes], deltas [batch, H * W * anchors, 4])`,
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

        self.convolution = _gaussian(channels, 3, "convolution", "same", activation="relu", dtype=self.dtype_policy)
        self.score = _gaussian(anchors * classes, 1, "score", dtype="float32")
        self.deltas = _gaussian(anchors * 4, 1, "deltas", dtype="float32")

    def build(self, input_shape):
        self.convolution.build(input_shape)
        hidden = (*input_shape[:-1], self.channels)
        self.score.build(hidden)
        self.deltas.build(hidden)
        super().build(input_shape)

    def call(self, x):
        x = self.convolution(x)
        return self.by_anchor(self.score(x), self.deltas(x))

    def by_anchor(self, scores, deltas):
        """Maps of what the 1x1 convolutions give, as lists of anchors."""
        batch = ops.shape(scores)[0]
        return ops.reshape(scores, (batch, -1, self.classes)), ops.reshape(deltas, (batch, -1, 4))

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


@serializable
class RefiningRPNHead(RPNHead):
    """A head whose boxes are fed back, scored again and refined, `passes` times (METHOD section 5, recursive training).

    A pass sees the hidden map of the head's 3x3 convolution and where the cell's boxes are now, as deltas from their
    anchors; a 1x1 convolution + ReLU and 1x1 convolutions to scores and deltas follow. All passes share these weights,
    and a pass knows nothing of those before it but the boxes: so any number of them can be run.

    Input `[batch, H, W, C]`; output `(logits, deltas, hidden, passes)`: the first two as of `RPNHead`; `hidden
    [batch, H, W, channels]`; for each pass `(logits, deltas, starts)`, `starts [batch, N, 4]` the deltas that lead
    from the anchors to the boxes the pass was given (no gradient), `deltas` those that lead from these boxes on. All
    float32.

    Args:
        passes: how many passes follow the head's own answer.
    """

    def __init__(self, anchors: int, classes: int, channels: int = 512, passes: int = 1, **kwargs):
        super().__init__(anchors, classes, channels, **kwargs)
        self.refinement_steps = passes
        options = {"activation": "relu", "kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.refinement = keras.layers.Conv2D(channels, 1, name="refinement", **options)
        self.refined_score = _gaussian(anchors * classes, 1, "refined_score", dtype="float32")
        self.refined_deltas = _gaussian(anchors * 4, 1, "refined_deltas", dtype="float32")

    def build(self, input_shape):
        super().build(input_shape)
        self.refinement.build((*input_shape[:-1], self.channels + 4 * self.anchors))
        for layer in (self.refined_score, self.refined_deltas):
            layer.build((*input_shape[:-1], self.channels))

    def call(self, x):
        hidden = self.convolution(x)
        logits, deltas = self.by_anchor(self.score(hidden), self.deltas(hidden))
        passes = []
        starts = box_ops.limit(ops.stop_gradient(deltas))
        for _ in range(self.refinement_steps):
            passes.append((*self.refine(hidden, starts), starts))
            starts = self.advance(*passes[-1][1:])
        return logits, deltas, ops.cast(hidden, "float32"), tuple(passes)

    def refine(self, hidden, starts):
        """One pass over the boxes at `starts`, `[batch, N, 4]`: their logits, and deltas from them on."""
        batch, height, width, _ = ops.shape(hidden)
        where = ops.reshape(starts / ops.convert_to_tensor(DELTA_STDDEVS), (batch, height, width, 4 * self.anchors))
        x = self.refinement(ops.concatenate([hidden, ops.cast(where, hidden.dtype)], axis=-1))
        return self.by_anchor(self.refined_score(x), self.refined_deltas(x))

    @staticmethod
    def advance(deltas, starts):
        """Where the next pass starts, after one that moved the boxes at `starts` by `deltas`; without a gradient."""
        return box_ops.limit(box_ops.compose(starts, ops.stop_gradient(deltas)))

    def compute_output_spec(self, x):
        hidden = keras.KerasTensor((*x.shape[:-1], self.channels), "float32")
        passes = []
        for _ in range(self.refinement_steps):  # each with tensors of its own: a graph tells them apart by identity
            logits, deltas = super().compute_output_spec(x)
            passes.append((logits, deltas, keras.KerasTensor(deltas.shape, "float32")))
        return (*super().compute_output_spec(x), hidden, tuple(passes))

    def get_config(self):
        return {**super().get_config(), "refinement_steps": self.refinement_steps}
