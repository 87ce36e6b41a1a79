"""The distributed training step, for one device, Mirrored and multi-worker alike."""

import gc
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from zip_keras.data.pipeline import describe_failure
from zip_keras.training.averaging import WeightAverage


class NonFiniteLossError(ArithmeticError):
    """A step's loss is NaN or infinite.

    Attributes:
        step: number of the step, from 0.
        indices: record numbers of the step's images.
    """

    def __init__(self, step: int, loss: float, indices: list[int]):
        super().__init__(f"loss {loss} at step {step}")
        self.step, self.loss, self.indices = step, loss, indices


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
        history = []
        for _ in range(int(num_steps)):
            history.append(self._compiled_step(self._next_batch()))
            self.on_step()
        values = [{name: value.numpy() for name, value in step.items()} for step in history]
        first = int(self.global_step.numpy()) - len(values)
        for number, step in enumerate(values):
            if not np.isfinite(step["loss"]):
                raise NonFiniteLossError(first + number, float(step["loss"]), step["index"].tolist())
        means = {name: float(np.mean([step[name] for step in values])) for name in values[0] if name != "index"}
        return {**means, "learning_rate": float(self.optimizer.learning_rate)}

    def close(self) -> None:
        """Ends the threads that prepare batches; they run Python code and would block the interpreter's exit."""
        self.batches = None
        gc.collect()

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
        gradients = tape.gradient(scaled, variables)
        if self.clip_norm:
            gradients = self._clip(gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return means, targets["index"]

    def _clip(self, gradients):
        """Clips the all-reduced gradient; what every replica returns adds up to it again in the optimizer."""
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        limit = self.clip_norm * getattr(self.optimizer, "dynamic_scale", 1.0)  # float16 losses are scaled
        gradients, _ = tf.clip_by_global_norm(gradients, limit)
        return [gradient / context.num_replicas_in_sync for gradient in gradients]
