"""Inception blocks: plain, reduction (stride 2) and up-sampling (the mirror of a reduction)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from zip_keras.layers.convolution import ConvNorm
from zip_keras.layers.registry import serializable
from zip_keras.layers.upsampling import upsampling


@dataclass(frozen=True)
class InceptionRow:
    """One row of a backbone's table: the widths of a block's branches.

    Attributes:
        name: "3a", "3b", ...
        one: width of the 1x1 branch; 0 = no such branch.
        three: (reduction, output) widths of the 3x3 branch.
        double: (reduction, first, second) widths of the double 3x3 branch.
        pool: "average" or "max", the 3x3 pool of the last branch.
        projection: width of the 1x1 convolution after the pool; 0 = pass-through.
        stride: 1, 2 (a reduction block), or -2 (up-sampling: the mirror of a reduction).
    """

    name: str
    one: int
    three: tuple[int, int]
    double: tuple[int, int, int]
    pool: str
    projection: int
    stride: int = 1

    def output_width(self, input_width: int) -> int:
        """Output channels of the block for `input_width` input channels."""
        return self.one + self.three[1] + self.double[2] + (self.projection or input_width)

    def scaled(self, width: float) -> "InceptionRow":
        """The row with every width multiplied by `width` and rounded to a multiple of 8, at least 8."""
        return dataclasses.replace(
            self,
            one=scale_width(self.one, width),
            three=_scaled(self.three, width),
            double=_scaled(self.double, width),
            projection=scale_width(self.projection, width),
        )

    def upsampling_mirror(self, output_width: int) -> "InceptionRow":
        """The up-sampling row that mirrors this reduction row; the projection fills up to `output_width` channels."""
        projection = output_width - self.three[1] - self.double[2]
        if self.stride != 2 or projection < 1:
            raise ValueError(f"block {self.name} (stride {self.stride}) cannot be mirrored to {output_width} channels")
        return dataclasses.replace(self, projection=projection, stride=-2)


def _scaled(widths: tuple, factor: float) -> Any:
    return tuple(scale_width(width, factor) for width in widths)


def scale_width(width: int, factor: float) -> int:
    """`width * factor` rounded to a multiple of 8, at least 8; 0 (no such branch) stays 0."""
    return width and (width if factor == 1 else max(8, round(width * factor / 8) * 8))


@serializable
class AveragePooling(keras.layers.Layer):
    """3x3 average pool with stride 1 and unchanged size.

    `border` is "count" if the zero padding enters the average, as in Caffe, or "ignore".
    """

    def __init__(self, border: str = "count", **kwargs):
        super().__init__(**kwargs)
        if border not in ("count", "ignore"):
            raise ValueError(f"the border must be 'count' or 'ignore', not {border!r}")
        self.border = border

    def call(self, x):
        if self.border == "ignore":
            return ops.average_pool(x, 3, strides=1, padding="same")
        return ops.average_pool(ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, strides=1, padding="valid")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "border": self.border}


@serializable
class Inception(keras.layers.Layer):
    """Inception block: branches 1x1, 3x3, double 3x3 and pool, concatenated in this order.

    Input `[batch, H, W, C]`; output `[batch, H, W, row.output_width(C)]` for stride 1, `H/2, W/2` for stride 2 and
    `2H, 2W` for stride -2. A reduction block has its stride in the last convolution of each branch, and its pool is not
    projected. An up-sampling block doubles the size of both branches before their last convolution; its pass-through
    branch is doubled and projected (paper section 3.1). Stride 2 expects even sizes.
    """

    def __init__(
        self,
        row: InceptionRow | dict,
        *,
        batch_norm: str = "synchronized",
        pool_border: str = "count",
        upsampling_kind: str = "bilinear",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.row = row = row if isinstance(row, InceptionRow) else _row_from(row)
        self.batch_norm, self.pool_border, self.upsampling_kind = batch_norm, pool_border, upsampling_kind

        def conv(width, kernel_size, name, stride=1):
            if not width:
                return None
            return ConvNorm(width, kernel_size, stride, batch_norm=batch_norm, dtype=self.dtype_policy, name=name)

        stride = max(row.stride, 1)
        self.one = conv(row.one, 1, "one")
        self.three_reduce = conv(row.three[0], 1, "three_reduce")
        self.three = conv(row.three[1], 3, "three", stride)
        self.double_reduce = conv(row.double[0], 1, "double_reduce")
        self.double_first = conv(row.double[1], 3, "double_first")
        self.double_second = conv(row.double[2], 3, "double_second", stride)
        self.projection = conv(row.projection, 1, "projection")
        self.pool = None
        self.double_size: list[keras.layers.Layer] = []
        if row.stride == 2 or (row.stride == 1 and row.pool == "max"):
            self.pool = keras.layers.MaxPooling2D(
                3, strides=stride, padding="same", dtype=self.dtype_policy, name="pool"
            )
        elif row.stride == 1:
            self.pool = AveragePooling(pool_border, dtype=self.dtype_policy, name="pool")

    def convolutions(self) -> dict[str, ConvNorm]:
        """The block's convolutions by branch name, for copying and converting weights."""
        names = ("one", "three_reduce", "three", "double_reduce", "double_first", "double_second", "projection")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def build(self, input_shape):
        channels, row = input_shape[-1], self.row

        def at(width):
            return (*input_shape[:-1], width)

        for name, width in (
            ("one", channels),
            ("three_reduce", channels),
            ("three", row.three[0]),
            ("double_reduce", channels),
            ("double_first", row.double[0]),
            ("double_second", row.double[1]),
            ("projection", channels),
        ):
            if getattr(self, name) is not None:
                getattr(self, name).build(at(width))
        if row.stride == -2:
            self.double_size = [
                upsampling(self.upsampling_kind, width, f"double_size_{i}", self.dtype_policy)
                for i, width in enumerate((row.three[0], row.double[1], channels))
            ]
            for layer, width in zip(self.double_size, (row.three[0], row.double[1], channels), strict=True):
                layer.build(at(width))
        super().build(input_shape)

    def call(self, x, training=None):
        three = self.three_reduce(x, training=training)
        double = self.double_first(self.double_reduce(x, training=training), training=training)
        passed = x if self.pool is None else self.pool(x)
        if self.double_size:
            three, double, passed = (
                layer(branch) for layer, branch in zip(self.double_size, (three, double, passed), strict=True)
            )
        branches = [] if self.one is None else [self.one(x, training=training)]
        branches += [self.three(three, training=training), self.double_second(double, training=training)]
        branches.append(passed if self.projection is None else self.projection(passed, training=training))
        return ops.concatenate(branches, axis=-1)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        if self.row.stride == 2:
            height, width = height and -(-height // 2), width and -(-width // 2)
        elif self.row.stride == -2:
            height, width = height and 2 * height, width and 2 * width
        return (batch, height, width, self.row.output_width(channels))

    def get_config(self):
        return {
            **super().get_config(),
            "row": dataclasses.asdict(self.row),
            "batch_norm": self.batch_norm,
            "pool_border": self.pool_border,
            "upsampling_kind": self.upsampling_kind,
        }


def _row_from(values: dict) -> InceptionRow:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return InceptionRow(**fields)
