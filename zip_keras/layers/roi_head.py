"""Second stage of a detector: classification and box regression of each RoI. Paper section 4, figure 6."""

from collections.abc import Sequence

import keras
from keras import ops

from zip_keras.layers.bottleneck import Bottleneck, normalisation
from zip_keras.layers.registry import serializable
from zip_keras.ops.converting import conversion_target
from zip_keras.ops.roi_align import max_pool, roi_align, roi_align_flat


def _gaussian(units: int, deviation: float, name: str) -> keras.layers.Dense:
    start = keras.initializers.RandomNormal(stddev=deviation)
    return keras.layers.Dense(units, kernel_initializer=start, dtype="float32", name=name)


@serializable
class RoIHead(keras.layers.Layer):
    """Predict class scores and class-wise box deltas of RoIs.

    Each RoI is pooled from the map of the level that proposed it. A 1x1 convolution of that level maps it to `width`
    channels. Residual bottlenecks shared by all levels, a global mean and two dense layers follow.

    Input: `maps` (`[B, H_m, W_m, C_m]` per level), `boxes` float32 `[B, R, 4]` in pixels and `levels` int32 `[B, R]`.
    Output: `(logits [B, R, C + 1], deltas [B, R, C, 4])`, float32 for every compute dtype, background first, deltas in
    units of `zip_keras.losses.roi.DELTA_STDDEVS`. An RoI whose level is not in `map_levels` is treated as one of the
    first level. With `with_features=True` the output also contains `features` float32 `[B, R, F]`, F = `num_features`:
    the concatenated global means of every block's output, used for boosting.

    Args:
        num_classes: C, without background.
        map_levels, strides: levels and strides of the maps.
        pooling, pool_size, width, blocks: see `RoIHeadConfig`.
        normalise: "frozen", "synchronized", "local" (batch normalisation) or "group".
    """

    def __init__(
        self,
        num_classes: int,
        map_levels: Sequence[int],
        strides: Sequence[int],
        *,
        pooling: str = "align",
        pool_size: int = 7,
        width: int = 1024,
        blocks: Sequence[int] = (6, 3),
        normalise: str = "synchronized",
        **kwargs,
    ):
        super().__init__(**{"autocast": False, **kwargs})  # boxes stay float32
        self.num_classes, self.map_levels, self.strides = num_classes, tuple(map_levels), tuple(strides)
        self.pooling, self.pool_size, self.width, self.blocks = pooling, pool_size, width, tuple(blocks)
        self.normalise = normalise
        policy = self.dtype_policy
        # Dense layers act as 1x1 convolutions: TensorFlow's convolution has no gradient if a level has no RoI.
        self.convolutions = [
            keras.layers.Dense(width, kernel_initializer="he_normal", dtype=policy, name=f"level_{level}")
            for level in self.map_levels
        ]
        self.normalisation = normalisation(normalise, width, "normalisation", policy)
        first, second = self.blocks
        rows = [(width, 1)] * first + [(2 * width, 1 if i else 2) for i in range(second)]
        self.bottlenecks = [
            Bottleneck(filters, stride, normalise=normalise, dtype=policy, name=f"block_{i}")
            for i, (filters, stride) in enumerate(rows, 1)
        ]
        self.score = _gaussian(num_classes + 1, 0.01, "score")
        self.deltas = _gaussian(num_classes * 4, 0.001, "deltas")

    def build(self, maps_shape, boxes_shape=None, levels_shape=None):
        for convolution, shape in zip(self.convolutions, maps_shape, strict=True):
            convolution.build((None, self.pool_size, self.pool_size, shape[-1]))
        shape = (None, self.pool_size, self.pool_size, self.width)
        self.normalisation.build(shape)
        for block in self.bottlenecks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        for layer in (self.score, self.deltas):
            layer.build((None, shape[-1]))
        super().build(maps_shape)

    @property
    def num_features(self) -> int:
        """F: the sum of the blocks' output channels, or `width` without blocks."""
        return sum(block.filters for block in self.bottlenecks) or self.width

    def call(self, maps, boxes, levels, training=None, with_features=False):
        batch, count = ops.shape(boxes)[:2]
        x = self._pooled(maps, boxes, levels)
        x = ops.relu(self.normalisation(x, training=training))
        outputs = []
        for block in self.bottlenecks:
            x = block(x, training=training)
            outputs.append(x)
        pooled = ops.mean(ops.cast(x, "float32"), axis=(1, 2))
        classes = self.num_classes
        logits = ops.reshape(self.score(pooled), (batch, count, classes + 1))
        deltas = ops.reshape(self.deltas(pooled), (batch, count, classes, 4))
        if not with_features:
            return logits, deltas
        earlier = [ops.mean(ops.cast(output, "float32"), axis=(1, 2)) for output in outputs[:-1]]
        features = ops.concatenate([*earlier, pooled], axis=-1)
        return logits, deltas, ops.reshape(features, (batch, count, self.num_features))

    def _pooled(self, maps, boxes, levels):
        """Pool each RoI from the map of its level and apply the level's convolution: `[B * R, size, size, width]`."""
        on_tensorflow = keras.backend.backend() == "tensorflow" and conversion_target() is None
        if on_tensorflow and self.pooling == "align":
            return self._pooled_level_by_level(maps, boxes, levels)
        pool = roi_align if self.pooling == "align" else max_pool
        flat, result = ops.reshape(levels, (-1, 1, 1, 1)), None
        for level, features, stride, convolution in self._levels(maps):
            pooled = pool(features, boxes, stride, self.pool_size)
            pooled = ops.reshape(pooled, (-1, self.pool_size, self.pool_size, features.shape[-1]))
            pooled = convolution(ops.cast(pooled, self.compute_dtype))
            result = pooled if result is None else ops.where(flat == level, pooled, result)
        return result

    def _pooled_level_by_level(self, maps, boxes, levels):
        """`_pooled` that pools each RoI only once, all RoIs of a level together."""
        import tensorflow as tf

        batch, count = ops.shape(boxes)[:2]
        boxes, levels = tf.reshape(boxes, [-1, 4]), tf.reshape(levels, [-1])
        image_of = tf.repeat(tf.range(batch), count)
        number = tf.zeros_like(levels)  # index of the map
        for i, level in enumerate(self.map_levels):
            number = tf.where(levels == level, i, number)
        parts, places = [], []
        for i, (_, features, stride, convolution) in enumerate(self._levels(maps)):
            chosen = tf.where(number == i)[:, 0]
            of_level = (tf.gather(boxes, chosen), tf.gather(image_of, chosen))
            pooled = roi_align_flat(features, *of_level, stride, self.pool_size)
            parts.append(convolution(tf.cast(pooled, self.compute_dtype)))
            places.append(chosen)
        back = tf.math.invert_permutation(tf.concat(places, axis=0))
        result = tf.gather(tf.concat(parts, axis=0), back)
        return tf.ensure_shape(result, (None, self.pool_size, self.pool_size, self.width))

    def _levels(self, maps):
        return zip(self.map_levels, maps, self.strides, self.convolutions, strict=True)

    def compute_output_spec(self, maps, boxes, levels, training=None, with_features=False):
        shapes = [(self.num_classes + 1,), (self.num_classes, 4), (self.num_features,)]
        specs = tuple(keras.KerasTensor((*boxes.shape[:2], *shape), "float32") for shape in shapes)
        return specs if with_features else specs[:2]

    def get_config(self):
        names = ("num_classes", "map_levels", "strides", "pooling", "pool_size", "width", "blocks", "normalise")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
