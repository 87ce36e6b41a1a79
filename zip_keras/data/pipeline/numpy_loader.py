"""Data loader for `model.fit` on the JAX and PyTorch backends, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import keras
import numpy as np

from zip_keras.data.given import GivenProposals
from zip_keras.data.pipeline.batches import BatchMaker
from zip_keras.data.records import Dataset

if TYPE_CHECKING:
    from zip_keras.config import DataConfig


class NumpyLoader(keras.utils.PyDataset):
    """The endless training batches `(images, y)` of docs/ARCHITECTURE.md as NumPy arrays; `loader[i]` is step i.

    Call `model.fit(loader, steps_per_epoch=loader.steps_per_epoch, epochs=..., shuffle=False)`. Without
    `steps_per_epoch`, Keras runs one epoch that never ends. The loader is endless because `fit` (Keras 3.15) shuffles
    a finite `PyDataset` and calls its `on_epoch_end` once too often, so it could not keep track of the step.

    The batches equal those of `tf_data.training_batches`. Use that function on the TensorFlow backend: there Keras
    infers the image sizes from the first two batches of a `PyDataset` and fails at any other size.

    Args:
        dataset: training data.
        settings: see `DataConfig`.
        batch_size: number of images per batch.
        seed: seed of the run.
        start_step: step number of `loader[0]`, to resume a run.
        threads: number of batches prepared ahead in parallel; Pillow releases the GIL while it decodes and resizes.
        proposals: see `BatchMaker`.

    Raises:
        UserError: the dataset does not fill a batch; on reading, an image is broken.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: DataConfig,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        threads: int = 2,
        proposals: Sequence[GivenProposals] | None = None,
    ):
        super().__init__()
        self.maker = BatchMaker(dataset, settings, batch_size, seed, proposals)
        self.steps_per_epoch = self.maker.steps_per_epoch
        self.start_step, self.threads = start_step, threads
        self._pool = ThreadPoolExecutor(threads)
        self._ahead: dict[int, Future] = {}

    @property
    def num_batches(self) -> None:
        """None, which tells Keras that the dataset is endless."""
        return None

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        wanted = range(index, index + 1 + self.threads)
        self._ahead = {
            i: self._ahead.get(i) or self._pool.submit(self.maker.batch, self.start_step + i) for i in wanted
        }
        return self._ahead.pop(index).result()
