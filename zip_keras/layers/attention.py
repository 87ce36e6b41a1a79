"""Merging of a level's zoom-out map F and zoom-in map H: map attention decision (MAD) and its alternatives.

Paper section 3.2: mu(m) = global max pool (three 3x3 convolutions of F3), X(m) = concat[F(m), H(m)],
Y(m)_j = mu(m)_j * X(m)_j. The paper gives neither activation nor normalisation; both are options. Every merge
except `add` starts at or near plain concatenation, so that two runs differ only in what the merge learns.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from zip_keras.layers.registry import serializable
from zip_keras.layers.upsampling import BilinearUpsampling


@serializable
class MapDecision(keras.layers.Layer):
    """MAD's channel weights mu: three 3x3 stride-1 convolutions of the coarsest map, then a global max pool.

    Input: F3 `[batch, h, w, C3]` and, for padded images, `valid [batch, h, w, 1]` (see `ValidCells`). Output: mu
    `[batch, 1, 1, channels]`, or `[batch, h, w, channels]` with `spatial=True` (no pool). The convolutions see zeros in
    the padding, as beyond the border of a map, and the maximum ignores it, so mu equals that of the unpadded map. The
    last convolution starts with small weights at any width and with the bias that `output` maps to 1, so mu starts
    within a few hundredths of 1.

    Args:
        channels: channels of X(m), 2 C(m) in the paper.
        hidden: channels of the first two convolutions (paper: `channels`).
        activation: activation after the first two convolutions, "linear" or "relu".
        normalisation: apply batch normalisation after the first two convolutions.
        output: activation of mu, "linear", "sigmoid" (2 * sigmoid: mu in 0..2) or "softplus" (mu > 0).
        spatial: keep the map instead of pooling it.
    """

    # Bias of the last convolution that gives mu = 1.
    NEUTRAL: ClassVar[dict[str, float]] = {"linear": 1.0, "sigmoid": 0.0, "softplus": 0.5413248546129181}

    def __init__(
        self,
        channels: int,
        *,
        hidden: int | None = None,
        activation: str = "relu",
        normalisation: bool = False,
        output: str = "linear",
        spatial: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if output not in self.NEUTRAL:
            raise ValueError(f"MapDecision's output must be one of {sorted(self.NEUTRAL)}, not {output!r}")
        if activation not in ("linear", "relu"):
            raise ValueError(f"MapDecision's activation must be 'linear' or 'relu', not {activation!r}")
        self.channels, self.hidden, self.activation = channels, hidden or channels, activation
        self.normalisation, self.output_function, self.spatial = normalisation, output, spatial
        self.convolutions = [
            keras.layers.Conv2D(
                self.hidden,
                3,
                padding="same",
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"convolution_{i}",
            )
            for i in (1, 2)
        ]
        self.normalisations = [
            keras.layers.BatchNormalization(
                momentum=0.95,
                synchronized=keras.backend.backend() == "tensorflow",
                dtype=self.dtype_policy,
                name=f"normalisation_{i}",
            )
            for i in (1, 2)
            if normalisation
        ]
        self.decision = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            # Standard deviation 0.01 / sqrt(fan in): the pool takes the maximum over hundreds of cells, and the wide
            # convolutions sum over thousands of inputs, so a fixed deviation would start mu far above 1.
            kernel_initializer=keras.initializers.VarianceScaling(1e-4, "fan_in", "untruncated_normal"),
            bias_initializer=keras.initializers.Constant(self.NEUTRAL[output]),
            dtype=self.dtype_policy,
            name="decision",
        )

    def build(self, input_shape):
        hidden_shape = (*input_shape[:-1], self.hidden)
        for convolution, shape in zip(self.convolutions, (input_shape, hidden_shape), strict=True):
            convolution.build(shape)
        for layer in self.normalisations:
            layer.build(hidden_shape)
        self.decision.build(hidden_shape)
        super().build(input_shape)

    def call(self, x, valid=None, training=None):
        for i, convolution in enumerate(self.convolutions):
            x = convolution(_without_padding(x, valid))
            if self.normalisations:
                x = self.normalisations[i](x, training=training)
            if self.activation == "relu":
                x = ops.relu(x)
        x = self.decision(_without_padding(x, valid))
        if not self.spatial:
            x = x if valid is None else ops.where(valid > 0, x, -float("inf"))
            x = ops.max(x, axis=(1, 2), keepdims=True)
        if self.output_function == "sigmoid":
            return 2.0 * ops.sigmoid(x)
        return ops.softplus(x) if self.output_function == "softplus" else x

    def compute_output_shape(self, x_shape, valid_shape=None):
        batch, height, width, _ = x_shape
        return (batch, height, width, self.channels) if self.spatial else (batch, 1, 1, self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "hidden": self.hidden,
            "activation": self.activation,
            "normalisation": self.normalisation,
            "output": self.output_function,
            "spatial": self.spatial,
        }


@serializable
class SqueezeExcitation(keras.layers.Layer):
    """Channel weights from the map itself: global average pool, C/16, ReLU, C, sigmoid (times 2, to start near 1).

    Input: `[batch, H, W, C]` and, for padded images, `valid [batch, H, W, 1]` (see `ValidCells`), which excludes the
    padding from the average. Output: the weighted map, same shape. This is the paper's `se` row. It weights the
    concatenated map at levels 1 and 2, and F3 at level 3.
    """

    def __init__(self, reduction: int = 16, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, input_shape):
        channels = input_shape[-1]
        squeezed = max(8, channels // self.reduction)
        small = keras.initializers.RandomNormal(stddev=1e-3)
        policy = self.dtype_policy
        self.squeeze = keras.layers.Dense(squeezed, activation="relu", dtype=policy, name="squeeze")
        self.excite = keras.layers.Dense(
            channels, activation="sigmoid", kernel_initializer=small, dtype=policy, name="excite"
        )
        self.squeeze.build((input_shape[0], channels))
        self.excite.build((input_shape[0], squeezed))
        super().build(input_shape)

    def call(self, x, valid=None):
        weights = 2.0 * self.excite(self.squeeze(_mean(x, valid)))
        return x * weights[:, None, None, :]

    def compute_output_shape(self, x_shape, valid_shape=None):
        return x_shape

    def get_config(self):
        return {**super().get_config(), "reduction": self.reduction}


def _without_padding(x, valid):
    return x if valid is None else x * valid


def _mean(x, valid):
    """Mean over the valid cells: `[batch, H, W, C]` -> `[batch, C]`."""
    if valid is None:
        return ops.mean(x, axis=(1, 2))
    total = ops.sum(ops.cast(x * valid, "float32"), axis=(1, 2))  # float16 cannot hold sums of many cells
    return ops.cast(total / ops.sum(ops.cast(valid, "float32"), axis=(1, 2)), x.dtype)


def merge_level(
    level: int,
    zoom_out,
    zoom_in,
    coarsest,
    *,
    merge: str,
    more=(),
    valid: Callable[[int], Any] = lambda level: None,
    hidden_width: float = 1.0,
    **decision_options,
):
    """Build the merged map Y(m) of level 1 or 2 as a functional graph.

    Args:
        level: 1 (stride 8) or 2 (stride 16); sets layer names and the size of a spatial decision.
        zoom_out, zoom_in: F(m), H(m) `[batch, H, W, C]`.
        coarsest: F3, the input of MAD.
        merge: "mad", "spatial_mad", "se", "conv" (plain concatenation; the head convolves it), or "add" (1x1
            convolutions to C(m), then the sum, as in a feature pyramid).
        more: further maps of the level's size, merged like F and H (the paper's extension E).
        valid: returns the valid cells of a level, see `ValidCells`; by default all cells are valid.
        hidden_width: MAD's hidden channels relative to the channels of all sources together.
        decision_options: options of `MapDecision`: activation, normalisation and output.

    Returns:
        `[batch, H, W, C]` with the channels of all sources (2 C(m) for F and H only), or C(m) for "add".
    """
    name = f"merge_{level}"
    if merge == "add":
        channels = zoom_out.shape[-1]
        sides = {"zoom_out": zoom_out, "zoom_in": zoom_in, **{f"more_{i}": x for i, x in enumerate(more, 1)}}
        projected = [keras.layers.Conv2D(channels, 1, name=f"{name}_{side}")(x) for side, x in sides.items()]
        return keras.layers.Add(name=name)(projected)
    sources = keras.layers.Concatenate(name=f"{name}_concatenate")([zoom_out, zoom_in, *more])
    if merge == "conv":
        return sources
    if merge == "se":
        return SqueezeExcitation(name=name)(sources, valid=valid(level))
    if merge not in ("mad", "spatial_mad"):
        raise ValueError(f"merge must be one of mad, spatial_mad, se, conv, add, not {merge!r}")
    channels = sources.shape[-1]
    hidden = max(8, round(channels * hidden_width / 8) * 8) if hidden_width != 1 else channels
    decision = MapDecision(
        channels, hidden=hidden, spatial=merge == "spatial_mad", name=f"{name}_decision", **decision_options
    )(coarsest, valid=valid(3))
    if merge == "spatial_mad":
        for step in range(3 - level):
            decision = BilinearUpsampling(name=f"{name}_align_{step}")(decision)
    return keras.layers.Multiply(name=name)([sources, decision])
