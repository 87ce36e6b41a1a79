"""The distributed training step, for one device, Mirrored and multi-worker alike."""

import gc
from typing import Any

import keras
import numpy as np
import orbit
import tensorflow as tf

from zip_keras.data.pipeline.tf_data import describe_failure
from zip_keras.training.averaging import WeightAverage


class NonFiniteLossError(ArithmeticError):
    """A step's loss, or the norm of its gradients, is NaN or infinite.

    Attributes:
        step: number of the step, from 0.
        indices: record numbers of the step's images.
    """

    def __init__(self, step: int, name: str, value: float, indices: list[int]):
        super().__init__(f"{name.replace('_', ' ')} {value} at step {step}")
        self.step, self.indices = step, indices


class ProposalTrainer(orbit.AbstractTrainer):
    """Runs optimizer steps on distributed batches.

    A replica sums its images' losses and divides by the *global* batch; Keras optimizers sum gradients over replicas,
    so any split of a batch gives the same step. Clipping looks at the all-reduced gradient.

    Args:
        model: a `ProposalNetwork` made under the strategy's scope.
        optimizer: likewise.
        batches: endless distributed iterator of (images, targets).
        strategy: where the steps run.
        batch_size: images of a step over all replicas.
        global_step: int64 variable, counted up by every step.
        clip_norm: global norm; 0 = off.
        average: moving average of the weights, or None.
        on_step: called with nothing after every step, for a progress bar.
    """

    def __init__(
        self,
        model,
        optimizer,
        batches: tf.distribute.DistributedIterator,
        *,
        strategy: tf.distribute.Strategy,
        batch_size: int,
        global_step: tf.Variable,
        clip_norm: float = 0.0,
        average: WeightAverage | None = None,
        on_step=lambda: None,
    ):
        self.model, self.optimizer = model, optimizer
        self.batches: Any = batches
        self.batch_size, self.global_step, self.clip_norm = batch_size, global_step, clip_norm
        self.average, self.on_step = average, on_step
        self.strategy = strategy
        # One trace for all image sizes: tracing this network costs seconds.
        self._compiled_step = tf.function(
            self._distributed_step, input_signature=[batches.element_spec], autograph=False
        )

    def train(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Runs `num_steps` steps; returns the means of their losses and counts.

        Raises:
            NonFiniteLossError: before anything can be saved.
            UserError: an image cannot be read.
        """
        history: list[dict[str, tf.Tensor]] = []
        try:
            for _ in range(int(num_steps)):
                history.append(self._compiled_step(self._next_batch()))
                self.on_step()
        except KeyboardInterrupt:
            self._values(history)  # whoever saves what there is has to know that it is sound
            raise
        values = self._values(history)
        means = {name: float(np.mean([step[name] for step in values])) for name in values[0] if name != "index"}
        return {**means, "learning_rate": float(self.optimizer.learning_rate)}

    def close(self) -> None:
        """Ends the threads that prepare batches; they run Python code and would block the interpreter's exit."""
        self.batches = None
        gc.collect()

    def _values(self, history: list[dict[str, tf.Tensor]]) -> list[dict[str, np.ndarray]]:
        """The numbers of the newest steps; raises `NonFiniteLossError` at the first that has none."""
        values = [{name: value.numpy() for name, value in step.items()} for step in history]
        first = int(self.global_step.numpy()) - len(values)
        for number, step in enumerate(values):
            for name in ("loss", "gradient_norm"):
                if not np.isfinite(step.get(name, 0.0)):
                    raise NonFiniteLossError(first + number, name, float(step[name]), step["index"].tolist())
        return values

    def _next_batch(self) -> Any:
        try:
            return next(self.batches)
        except tf.errors.OpError as error:
            described = describe_failure(error)
            if described is None:
                raise
            raise described from None

    def _distributed_step(self, batch):
        losses, index = self.strategy.run(self._replica_step, args=batch)
        if self.average is not None:
            self.average.update(self.global_step)
        self.global_step.assign_add(1)
        reduced = {
            name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for name, value in losses.items()
        }
        return {**reduced, "index": self.strategy.gather(index, axis=0)}

    def _replica_step(self, images, targets):
        targets = _without_empty_places(targets)
        with tf.GradientTape() as tape:
            outputs = self.model(images, training=True)
            losses = self.model.image_losses(images, targets, outputs)
            # [B / replicas] each -> this replica's part of the mean over the global batch
            means = {name: tf.reduce_sum(value) / self.batch_size for name, value in losses.items()}
            loss = means["loss"]
            if self.model.losses:  # regularisers, the same on every replica
                loss += tf.add_n(self.model.losses) / self.strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        # Levels without anchors leave the last stages of the backbone without a part in the loss.
        pairs = zip(tape.gradient(scaled, variables), variables, strict=True)
        gradients, variables = zip(*((g, v) for g, v in pairs if g is not None), strict=True)
        if not self._scales_loss:  # scaled float16 gradients overflow now and then; the optimizer leaves that step out
            means["gradient_norm"] = tf.linalg.global_norm(gradients)
        if self.clip_norm or self._scales_loss:
            gradients = self._reduced(gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return means, targets["index"]

    @property
    def _scales_loss(self) -> bool:
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)

    def _reduced(self, gradients):
        """The all-reduced gradient, clipped; what every replica returns adds up to it again in the optimizer.

        Clipping has to look at it, and so does the decision to leave out a step whose scaled gradients overflowed:
        Keras asks one replica only.
        """
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.clip_norm:
            limit = self.clip_norm * (self.optimizer.dynamic_scale if self._scales_loss else 1.0)
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        return [gradient / context.num_replicas_in_sync for gradient in gradients]


def _without_empty_places(targets: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The same targets with as many places for boxes as the batch's fullest image needs, at least one.

    The pipeline pads to the most boxes of any image of the data set, and matching costs time for every place.
    """
    places = tf.reduce_max(tf.reduce_sum(tf.cast(targets["classes"] >= 0, tf.int32), axis=1))
    shortened = ("boxes", "classes", "difficult", "crowd")
    return {name: value[:, : tf.maximum(places, 1)] if name in shortened else value for name, value in targets.items()}
