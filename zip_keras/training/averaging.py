"""Exponential moving average of a model's weights."""

import tensorflow as tf


class WeightAverage(tf.Module):
    """Averages all weights of a model, batch-norm statistics included.

    The decay rises as `min(decay, (1 + t) / (10 + t))`, so a short run is not averaged with its random start. Create it
    under the strategy's scope; it belongs into the checkpoint.
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
        """Moves the averages towards the weights; call it outside of the replicas, after optimizer step `step`."""
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
