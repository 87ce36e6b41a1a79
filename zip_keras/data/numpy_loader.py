"""Executes epoch plans without TensorFlow, with Pillow, for `model.fit` on the JAX and PyTorch backends."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import keras
import numpy as np

from zip_keras.data.batch_targets import batch_targets, box_capacity
from zip_keras.data.encoded import check_size, describe, jpeg_reduction, read_encoded, undecodable
from zip_keras.data.planning import GRAY_WEIGHTS, EpochPlan, ExamplePlan, batches_per_epoch, plan_epoch
from zip_keras.data.records import Dataset, ImageRecord

if TYPE_CHECKING:
    from zip_keras.config import DataConfig


class NumpyLoader(keras.utils.PyDataset):
    """The training batches `(images, y)` of docs/ARCHITECTURE.md, one epoch after the other, as NumPy arrays.

    `y` equals that of `pipeline.training_batches` exactly; images differ by the rounding of the decoders. Plans are
    shuffled already: give `fit` `shuffle=False`, or Keras shuffles an epoch's batches once more.

    Args:
        dataset: what to read.
        settings: see `DataConfig`.
        batch_size: images of a batch.
        seed: of the run.
        first_epoch: to continue a run: the `initial_epoch` given to `fit`.
        pad_value: RGB written at the bottom and right.
        workers: threads that prepare batches ahead; Pillow decodes and resizes outside the interpreter lock.

    Raises:
        UserError: the data set does not fill a batch; on reading, an image is broken.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: DataConfig,
        batch_size: int,
        seed: int,
        first_epoch: int = 0,
        pad_value: tuple[float, float, float] = (0.0, 0.0, 0.0),
        workers: int = 2,
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=2 * workers)
        self.dataset = dataset
        self.settings = settings
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = first_epoch
        self.pad_value = pad_value
        self._batches = batches_per_epoch(dataset, batch_size)
        self._capacity = box_capacity(dataset, settings)
        self._plan = self._plan_epoch()

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, batch: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        examples = [self._plan.example(batch, row) for row in range(self.batch_size)]
        images = [make_image(self.dataset.records[e.record], e, self.pad_value) for e in examples]
        return np.stack(images), batch_targets(self.dataset, self._plan, batch, self._capacity)

    def on_epoch_end(self) -> None:
        """Called by `fit`: the next epoch's plan."""
        self.epoch += 1
        self._plan = self._plan_epoch()

    def _plan_epoch(self) -> EpochPlan:
        return plan_epoch(self.dataset, self.settings, self.batch_size, self.seed, self.epoch)


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
