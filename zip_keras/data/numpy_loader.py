"""Executes epoch plans without TensorFlow, with Pillow, for `model.fit` on the JAX and PyTorch backends."""

from __future__ import annotations

import functools
import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import keras
import numpy as np

from zip_keras.data.batch_targets import batch_targets, box_capacity
from zip_keras.data.encoded import check_size, describe, jpeg_reduction, read_encoded, undecodable
from zip_keras.data.planning import GRAY_WEIGHTS, ExamplePlan, batches_per_epoch, plan_epoch
from zip_keras.data.records import Dataset, ImageRecord

if TYPE_CHECKING:
    from zip_keras.config import DataConfig


class NumpyLoader(keras.utils.PyDataset):
    """The endless training batches `(images, y)` of docs/ARCHITECTURE.md as NumPy arrays; `loader[i]` is step i.

    Call `model.fit(loader, steps_per_epoch=loader.steps_per_epoch, epochs=..., shuffle=False)`: without the first
    number Keras sees one epoch that never ends. A `PyDataset` with an end would be shuffled by `fit` and told of the
    end of epochs once too often (Keras 3.15): it could not know at which step it is.

    `y` equals that of `pipeline.training_batches` exactly; images differ by Pillow's rounding to whole gray levels. On
    the TensorFlow backend use the pipeline: there Keras takes the image sizes of a `PyDataset`'s first two batches for
    those of all, and stops at another one.

    Args:
        dataset: what to read.
        settings: see `DataConfig`.
        batch_size: images of a batch.
        seed: of the run.
        start_step: the step that `loader[0]` is, to continue a run.
        pad_value: RGB written at the bottom and right.
        threads: batches prepared ahead at a time; Pillow decodes and resizes outside the interpreter lock.

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
        pad_value: tuple[float, float, float] = (0.0, 0.0, 0.0),
        threads: int = 2,
    ):
        super().__init__()
        self.dataset = dataset
        self.batch_size = batch_size
        self.steps_per_epoch = batches_per_epoch(dataset, batch_size)
        self.start_step = start_step
        self.pad_value = pad_value
        self.threads = threads
        self._capacity = box_capacity(dataset, settings)
        # Batches are prepared ahead across the end of an epoch: two plans are in use.
        self._plan = functools.lru_cache(maxsize=2)(
            lambda epoch: plan_epoch(dataset, settings, batch_size, seed, epoch)
        )
        self._pool = ThreadPoolExecutor(threads)
        self._ahead: dict[int, Future] = {}

    @property
    def num_batches(self) -> None:
        """None: Keras's word for endless."""
        return None

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        wanted = range(index, index + 1 + self.threads)
        self._ahead = {i: self._ahead.get(i) or self._pool.submit(self._make_batch, i) for i in wanted}
        return self._ahead.pop(index).result()

    def _make_batch(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        epoch, batch = divmod(self.start_step + index, self.steps_per_epoch)
        plan = self._plan(epoch)
        examples = [plan.example(batch, row) for row in range(self.batch_size)]
        images = [make_image(self.dataset.records[e.record], e, self.pad_value) for e in examples]
        return np.stack(images), batch_targets(self.dataset, plan, batch, self._capacity)


def make_image(record: ImageRecord, example: ExamplePlan, pad_value: tuple[float, float, float]) -> np.ndarray:
    """Reads an image and does what its plan says.

    Returns:
        float32 `[padded height, padded width, 3]`, RGB 0..255.

    Raises:
        UserError: the image is missing, broken, or of another size than annotated.
    """
    from PIL import Image, UnidentifiedImageError

    shown = describe(record.file, record.offset, record.length)
    original = (record.height, record.width)
    height, width = example.size
    y1, x1, y2, x2 = example.window
    encoded = read_encoded(record.file, record.offset, record.length)
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            ratio = jpeg_reduction(original, example.window, example.size) if picture.format == "JPEG" else 1
            if ratio > 1:
                picture.draft(None, (record.width // ratio, record.height // ratio))
            decoded = picture.convert("RGB")
    except UnidentifiedImageError:
        raise undecodable(shown, "unknown image format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise undecodable(shown, error) from None
    check_size(shown, (decoded.height, decoded.width), original, ratio)
    if ratio == 1:
        decoded = decoded.crop((x1, y1, x2, y2))
    # Pillow's bilinear filter widens when it shrinks: what TensorFlow calls antialias.
    image = np.asarray(decoded.resize((width, height), Image.Resampling.BILINEAR))
    if example.flip:
        image = image[:, ::-1]
    if example.jitter != (1.0, 1.0, 1.0):
        image = _jitter(image, example.jitter)
    padded = np.empty((*example.padded, 3), np.float32)
    padded[:height, :width] = image
    padded[:height, width:] = pad_value
    padded[height:] = pad_value
    return padded


def _jitter(image: np.ndarray, factors: tuple[float, float, float]) -> np.ndarray:
    """See `ExamplePlan.jitter`."""
    brightness, contrast, saturation = factors
    weights = np.array(GRAY_WEIGHTS, np.float32)
    image = image * np.float32(brightness)
    mean = (image @ weights).mean()
    image = mean + contrast * (image - mean)
    gray = (image @ weights)[..., None]
    return np.clip(gray + saturation * (image - gray), 0.0, 255.0)
