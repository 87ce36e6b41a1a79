"""The training batches as a `tf.data.Dataset`, for one or many replicas and workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np
import tensorflow as tf

from zip_keras.data.given import GivenProposals
from zip_keras.data.pipeline.batches import BatchMaker
from zip_keras.data.records import Dataset
from zip_keras.errors import UserError

if TYPE_CHECKING:
    from zip_keras.config import DataConfig

# TensorFlow wraps and escapes the text of an error; markers and quoting let `describe_failure` restore it.
_OPEN, _CLOSE, _READABLE = "<bad input:", ":bad input>", " /.,;()=-_"


def training_batches(
    dataset: Dataset,
    settings: DataConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    replicas: int = 1,
    threads: int | None = None,
    proposals: Sequence[GivenProposals] | None = None,
) -> tf.data.Dataset:
    """The endless training batches `(images, y)` of docs/ARCHITECTURE.md, starting at a given step.

    Args:
        dataset: training data.
        settings: see `DataConfig`.
        batch_size: number of images per step over all workers.
        seed: seed of the run.
        start_step: step of the first batch; the batches are those of an uninterrupted run, and skipping is free.
        shard: `(i, n)`: worker i of n gets rows `i * B / n ... (i + 1) * B / n` of every batch.
        replicas: number of replicas of this worker. Its rows are split into that many consecutive elements
            (`tf.distribute` per-replica input); all elements of a step have the same padded size.
        threads: number of images read, decoded and resized in parallel; None lets tf.data choose.
        proposals: see `BatchMaker`.

    Returns:
        `images` float32 `[B / n / replicas, H, W, 3]`; height and width differ from batch to batch.

    Raises:
        UserError: the dataset does not fill a batch, or the batch does not split evenly.
    """
    worker, workers = shard
    if batch_size % (workers * replicas):
        raise UserError(
            f"train.batch_size {batch_size} does not split over {workers} workers with {replicas} replicas each; "
            f"make it a multiple of {workers * replicas}"
        )
    share = batch_size // workers
    maker = BatchMaker(dataset, settings, batch_size, seed, proposals)
    capacity = maker.capacity
    specs = {
        "image": tf.TensorSpec([None, None, 3], tf.float32),
        "boxes": tf.TensorSpec([capacity, 4], tf.float32),
        "classes": tf.TensorSpec([capacity], tf.int32),
        "difficult": tf.TensorSpec([capacity], tf.bool),
        "crowd": tf.TensorSpec([capacity], tf.bool),
        "size": tf.TensorSpec([2], tf.float32),
        "seed": tf.TensorSpec([], tf.int32),
        "index": tf.TensorSpec([], tf.int32),
        "defect": tf.TensorSpec([], tf.string),
    }
    if proposals is not None:
        places = maker.proposal_capacity
        specs["proposals"] = tf.TensorSpec([places, 4], tf.float32)
        specs["proposal_levels"] = tf.TensorSpec([places], tf.int32)

    def make(position: np.ndarray) -> list[Any]:
        """Make one example. Errors are returned as `defect`, because TensorFlow would wrap an exception in a trace."""
        step, row = divmod(int(position), share)
        try:
            image, targets = maker.example(step, worker * share + row)
            values: dict[str, Any] = {"image": image, **targets, "defect": b""}
        except UserError as error:
            values = {name: np.zeros([side or 1 for side in spec.shape], spec.dtype.as_numpy_dtype)
                      for name, spec in specs.items()}  # fmt: skip
            values["defect"] = quote(str(error), safe=_READABLE).encode()
        return [values[name] for name in specs]

    def example(position: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        values = tf.numpy_function(make, [position], [spec.dtype for spec in specs.values()])
        made = {
            name: tf.ensure_shape(value, spec.shape) for (name, spec), value in zip(specs.items(), values, strict=True)
        }
        defect = made.pop("defect")
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(defect, ""), [_OPEN + defect + _CLOSE])]):
            image = tf.identity(made.pop("image"))
        return image, made

    options = tf.data.Options()
    options.deterministic = True
    # The dataset yields only the rows of this worker.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return (
        tf.data.Dataset.range(start_step * share, np.iinfo(np.int64).max)
        .map(example, num_parallel_calls=threads or tf.data.AUTOTUNE)
        .batch(share // replicas, drop_remainder=True)
        .prefetch(2)
        .with_options(options)
    )


def describe_failure(error: Exception) -> UserError | None:
    """The `UserError` behind an error raised while iterating a dataset of this module; None for other errors."""
    _, found, rest = str(error).partition(_OPEN)
    return UserError(unquote(rest.partition(_CLOSE)[0])) if found else None
