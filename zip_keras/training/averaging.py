"""Exponential moving average of a model's weights."""

import tensorflow as tf


class WeightAverage(tf.Module):
    """Averages all weights of a model, including batch norm statistics.

    The decay rises as `min(decay, (1 + t) / (10 + t))`, so that the initial weights have little influence in short
    runs. Create it under the strategy's scope and include it in the checkpoint.
    """

    def __init__(self, model, decay: float):
        super().__init__(name="weight_average")
        self.decay = decay
        self._strategy = tf.distribute.get_strategy()
        self._sources = [weight.value for weight in model.weights]
        self.averages = [
            tf.Variable(source, trainable=False, name=f"average_{i}") for i, source in enumerate(self._sources)
        ]

    def update(self, step) -> None:
        """Update the averages; call it outside the replicas, after optimizer step `step`."""
        step = tf.cast(step, tf.float32)
        rate = 1.0 - tf.minimum(self.decay, (1.0 + step) / (10.0 + step))

        def move(average, source):
            if average.dtype.is_floating:
                average.assign_sub(tf.cast(rate, average.dtype) * (average - source))
            else:
                average.assign(source)

        for average, source in zip(self.averages, self._sources, strict=True):
            self._strategy.extended.update(average, move, args=(source,))

    def values(self) -> list:
        """The averages as NumPy arrays, in the order of `model.weights`."""
        return [average.numpy() for average in self.averages]
