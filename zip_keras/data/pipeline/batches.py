"""Execution of epoch plans of `plan.py`: read, decode, resize, flip, jitter and pad. Without TensorFlow."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.data.checks.images import EXIF_ORIENTATION, verify
from zip_keras.data.encoded import check_size, describe, jpeg_reduction, read_encoded, undecodable
from zip_keras.data.given import GivenProposals
from zip_keras.data.image_headers import check_pixels
from zip_keras.data.pipeline.batch_targets import box_capacity, example_targets, proposal_targets
from zip_keras.data.pipeline.plan import GRAY_WEIGHTS, ExamplePlan, batches_per_epoch, plan_epoch
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError
from zip_keras.pixels import PADDING

if TYPE_CHECKING:
    from PIL.Image import Image

    from zip_keras.config import DataConfig


JPEG = b"\xff\xd8\xff"


class BatchMaker:
    """Makes the endless training batches of docs/ARCHITECTURE.md, example by example. Thread-safe.

    Args:
        dataset: training data.
        settings: see `DataConfig`.
        batch_size: number of images per step.
        seed: seed of the run.
        proposals: proposals of each record, to train a second stage on; None for targets without proposals.

    Attributes:
        steps_per_epoch: number of full batches in the dataset.
        capacity: M, maximum number of boxes per image.
        proposal_capacity: maximum number of proposals per image; 0 if there are none.

    Raises:
        UserError: the dataset does not fill a batch; on reading, an image is missing or broken.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: DataConfig,
        batch_size: int,
        seed: int,
        proposals: Sequence[GivenProposals] | None = None,
    ):
        self.dataset, self.batch_size, self.proposals = dataset, batch_size, proposals
        self.proposal_capacity = max(8, *map(len, proposals)) if proposals is not None else 0
        self.steps_per_epoch = batches_per_epoch(dataset, batch_size)
        self.capacity = box_capacity(dataset, settings)
        # prepare_data has checked the images in shards.
        self._checked = bytearray(record.in_shard for record in dataset.records)
        # Prefetching crosses the end of an epoch, so two plans are in use.
        self._plan = functools.lru_cache(maxsize=2)(
            lambda epoch: plan_epoch(dataset, settings, batch_size, seed, epoch)
        )

    def example(self, step: int, row: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Row `row` of the batch of step `step`: image float32 `[H, W, 3]` and its targets."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        plan = self._plan(epoch).example(batch, row)
        record = self.dataset.records[plan.record]
        targets = example_targets(record, plan, self.capacity)
        if self.proposals is not None:
            targets.update(proposal_targets(self.proposals[plan.record], plan, self.proposal_capacity))
        image = make_image(record, plan, check_end=not self._checked[plan.record])
        self._checked[plan.record] = True
        return image, targets

    def batch(self, step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The batch of step `step`: images float32 `[B, H, W, 3]` and stacked targets."""
        images, targets = zip(*(self.example(step, row) for row in range(self.batch_size)), strict=True)
        return np.stack(images), {name: np.stack([t[name] for t in targets]) for name in targets[0]}


def make_image(record: ImageRecord, example: ExamplePlan, check_end: bool = False) -> np.ndarray:
    """Read an image and apply its plan.

    Args:
        record: record of the image.
        example: plan of the image.
        check_end: whether to check for truncated JPEG data, which takes a second decoding. Decoders silently fill
            missing data with gray.

    Returns:
        float32 `[padded height, padded width, 3]`, RGB 0..255, with `PADDING` at the bottom and right.

    Raises:
        UserError: the image is missing or broken, or its size differs from the annotation.
    """
    from PIL import Image, UnidentifiedImageError

    shown = describe(record.file, record.offset, record.length)
    original = (record.height, record.width)
    height, width = example.size
    y1, x1, y2, x2 = example.window
    encoded = read_encoded(record.file, record.offset, record.length)
    check_pixels(encoded, shown)
    if check_end and encoded[:3] == JPEG:
        _check_end(encoded, shown)
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            ratio = jpeg_reduction(original, example.window, example.size) if picture.format == "JPEG" else 1
            if ratio > 1:
                picture.draft(None, (record.width // ratio, record.height // ratio))
            _refuse_what_decoders_differ_on(picture, shown)
            decoded = picture.convert("RGB")
    except UnidentifiedImageError:
        raise undecodable(shown, "unknown image format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise undecodable(shown, error) from None
    check_size(shown, (decoded.height, decoded.width), original, ratio)
    if ratio == 1:
        decoded = decoded.crop((x1, y1, x2, y2))
    # Pillow's bilinear filter widens when it downscales, like TensorFlow's `antialias`.
    image = np.asarray(decoded.resize((width, height), Image.Resampling.BILINEAR))
    if example.flip:
        image = image[:, ::-1]
    if example.jitter != (1.0, 1.0, 1.0):
        image = _jitter(image, example.jitter)
    padded = np.full((*example.padded, 3), PADDING, np.float32)
    padded[:height, :width] = image
    return padded


def _check_end(encoded: bytes, shown: str) -> None:
    try:
        verify(encoded, shown)
    except UserError as error:
        raise undecodable(shown, str(error).removeprefix(f"{shown}: ")) from None


def _refuse_what_decoders_differ_on(picture: Image, shown: str) -> None:
    """Raise `UserError` for images that decoders treat differently; prepared records contain none."""
    orientation = picture.getexif().get(EXIF_ORIENTATION, 1)
    if orientation in range(2, 9):
        reason = f"its EXIF orientation {orientation} turns it, and its boxes may be meant before or after that"
    elif picture.mode.startswith("I"):
        reason = "it has 16 bits a channel"
    else:
        return
    raise UserError(f"{shown}: {reason}; train on records made by prepare_data with --on-bad-image repair, or skip")


def _jitter(image: np.ndarray, factors: tuple[float, float, float]) -> np.ndarray:
    """See `ExamplePlan.jitter`."""
    brightness, contrast, saturation = factors
    weights = np.array(GRAY_WEIGHTS, np.float32)
    image = image * np.float32(brightness)
    mean = (image @ weights).mean()
    image = mean + contrast * (image - mean)
    gray = (image @ weights)[..., None]
    return np.clip(gray + saturation * (image - gray), 0.0, 255.0)
