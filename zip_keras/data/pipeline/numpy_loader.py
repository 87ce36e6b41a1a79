"""Feeds `model.fit` without TensorFlow, on the JAX and PyTorch backends."""

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

    Call `model.fit(loader, steps_per_epoch=loader.steps_per_epoch, epochs=..., shuffle=False)`: without the first
    number Keras sees one epoch that never ends. A `PyDataset` with an end would be shuffled by `fit` and told of the
    end of epochs once too often (Keras 3.15): it could not know at which step it is.

    The batches equal those of `pipeline.training_batches`. On the TensorFlow backend use the pipeline: there Keras
    takes the image sizes of a `PyDataset`'s first two batches for those of all, and stops at another one.

    Args:
        dataset: what to read.
        settings: see `DataConfig`.
        batch_size: images of a batch.
        seed: of the run.
        start_step: the step that `loader[0]` is, to continue a run.
        threads: batches prepared ahead at a time; Pillow decodes and resizes outside the interpreter lock.
        proposals: see `BatchMaker`.

    Raises:
        UserError: the data set does not fill a batch; on reading, an image is broken.
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
        """None: Keras's word for endless."""
        return None

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        wanted = range(index, index + 1 + self.threads)
        self._ahead = {
            i: self._ahead.get(i) or self._pool.submit(self.maker.batch, self.start_step + i) for i in wanted
        }
        return self._ahead.pop(index).result()
