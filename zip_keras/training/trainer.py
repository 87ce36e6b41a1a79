"""The training step, shared by one-device, mirrored and multi-worker strategies."""

import gc
from typing import Any

import keras
import numpy as np
import orbit
import tensorflow as tf

from zip_keras.data.pipeline.tf_data import describe_failure
from zip_keras.training.averaging import WeightAverage


class NonFiniteLossError(ArithmeticError):
    """The loss or the gradient norm of a step is NaN or infinite.

    Attributes:
        step: step number, counted from 0.
        indices: record indices of the images of the step.
    """

    def __init__(self, step: int, name: str, value: float, indices: list[int]):
        super().__init__(f"{name.replace('_', ' ')} {value} at step {step}")
        self.step, self.indices = step, indices


class ProposalTrainer(orbit.AbstractTrainer):
    """Runs optimizer steps on distributed batches.

    A replica sums the losses of its images and divides by the *global* batch size. Keras optimizers sum gradients over
    replicas, so any split of a batch gives the same step. Clipping applies to the all-reduced gradient.

    Args:
        model: network created under the strategy's scope.
        optimizer: optimizer created under the strategy's scope.
        batches: endless distributed iterator of (images, targets).
        strategy: distribution strategy of the steps.
        batch_size: number of images per step over all replicas.
        global_step: int64 variable that every step increments.
        clip_norm: maximum global norm of the gradient; 0 = off.
        average: moving average of the weights, or None.
        on_step: called without arguments after every step, for a progress bar.
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
        # One trace for all image sizes, because tracing this network takes seconds.
        self._compiled_step = tf.function(
            self._distributed_step, input_signature=[batches.element_spec], autograph=False
        )

    def train(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Run `num_steps` steps and return the means of their losses and counts.

        Raises:
            NonFiniteLossError: a loss or gradient norm is not finite; raised before anything is saved.
            UserError: an image cannot be read.
        """
        history: list[dict[str, tf.Tensor]] = []
        try:
            for _ in range(int(num_steps)):
                history.append(self._compiled_step(self._next_batch()))
                self.on_step()
        except KeyboardInterrupt:
            self._values(history)  # raises if a step was not finite, so that its weights are not saved
            raise
        values = self._values(history)
        means = {name: float(np.mean([step[name] for step in values])) for name in values[0] if name != "index"}
        return {**means, "learning_rate": float(self.optimizer.learning_rate)}

    def close(self) -> None:
        """Stop the threads that prepare batches; they run Python code and would block the interpreter's exit."""
        self.batches = None
        gc.collect()

    def _values(self, history: list[dict[str, tf.Tensor]]) -> list[dict[str, np.ndarray]]:
        """The metrics of the latest steps; raise `NonFiniteLossError` at the first step with a non-finite one."""
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
            # [B / replicas] each -> contribution of this replica to the mean over the global batch
            means = {name: tf.reduce_sum(value) / self.batch_size for name, value in losses.items()}
            loss = means["loss"]
            if self.model.losses:  # regularizers, the same on every replica
                loss += tf.add_n(self.model.losses) / self.strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss)
        variables = self.model.trainable_variables
        # If a level has no anchors, the last stages of the backbone do not affect the loss and have no gradient.
        pairs = zip(tape.gradient(scaled, variables), variables, strict=True)
        gradients, variables = zip(*((g, v) for g, v in pairs if g is not None), strict=True)
        if not self._scales_loss:  # scaled float16 gradients sometimes overflow; the optimizer then skips the step
            means["gradient_norm"] = tf.linalg.global_norm(gradients)
        if self.clip_norm or self._scales_loss:
            gradients = self._reduced(gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return means, targets["index"]

    @property
    def _scales_loss(self) -> bool:
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)

    def _reduced(self, gradients):
        """The all-reduced and clipped gradient, divided by the number of replicas, because the optimizer sums again.

        Clipping needs the all-reduced gradient. So does the check for overflow of scaled gradients, because Keras
        checks only one replica.
        """
        context = tf.distribute.get_replica_context()
        gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.clip_norm:
            limit = self.clip_norm * (self.optimizer.dynamic_scale if self._scales_loss else 1.0)
            gradients, _ = tf.clip_by_global_norm(gradients, limit)
        return [gradient / context.num_replicas_in_sync for gradient in gradients]


def _without_empty_places(targets: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The targets with padding reduced to the largest number of boxes in the batch, at least one.

    The pipeline pads to the maximum over the dataset, and matching takes time for every padded box.
    """
    places = tf.reduce_max(tf.reduce_sum(tf.cast(targets["classes"] >= 0, tf.int32), axis=1))
    shortened = ("boxes", "classes", "difficult", "crowd")
    return {name: value[:, : tf.maximum(places, 1)] if name in shortened else value for name, value in targets.items()}
