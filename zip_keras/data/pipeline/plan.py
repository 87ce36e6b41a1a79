"""Plans of training batches, made before anything is read.

A plan is a pure function of image sizes, boxes, settings, seed and epoch, in NumPy. The data loaders (`tf_data.py` with
tf.data, `numpy_loader.py` without TensorFlow) execute it. A step number is therefore a position in the data, and the
batches are the same after resuming, on several workers and on all backends.

An epoch uses every image at most once. A random remainder smaller than a batch is dropped, another one each epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.data.records import Dataset
from zip_keras.errors import UserError

if TYPE_CHECKING:
    from zip_keras.config import DataConfig

# Range of the square root of the chosen object's area in pixels: in the paper ("covered by the medium anchors") and in
# the released code.
DYNAMIC_TARGETS = {"paper": (64.0, 128.0), "released": (72.0, 128.0)}
# Random crops as in SSD: window side relative to the image side, and window aspect ratio (height / width) relative to
# that of the image.
CROP_SHARE = (0.3, 1.0)
CROP_RATIO = (0.5, 2.0)

# A pixel's gray for the colour jitter: ITU-R BT.601 luma of R, G, B.
GRAY_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class ExamplePlan:
    """Augmentation of one image: crop to the window, resize, flip, jitter the colours, pad.

    Attributes:
        record: index into `Dataset.records`.
        window: `(y1, x1, y2, x2)`, integer pixels of the original image.
        size: `(height, width)` to which the window is resized.
        flip: whether to flip horizontally after resizing.
        jitter: factors (1 = unchanged) of brightness, then contrast around the image's mean gray, then saturation
            around each pixel's gray; the result is clipped to 0..255.
        seed: seed for anchor sampling.
        padded: `(height, width)` of the images of the batch.
    """

    record: int
    window: tuple[int, int, int, int]
    size: tuple[int, int]
    flip: bool
    jitter: tuple[float, float, float]
    seed: int
    padded: tuple[int, int]


@dataclass(frozen=True)
class EpochPlan:
    """N batches of B examples; the attributes of `ExamplePlan` as arrays.

    Attributes:
        records: int32 `[N, B]`.
        windows: int32 `[N, B, 4]`.
        sizes: int32 `[N, B, 2]`.
        flips: bool `[N, B]`.
        jitter: float32 `[N, B, 3]`.
        seeds: int32 `[N, B]`.
        padded: int32 `[N, 2]`.
    """

    records: np.ndarray
    windows: np.ndarray
    sizes: np.ndarray
    flips: np.ndarray
    jitter: np.ndarray
    seeds: np.ndarray
    padded: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def example(self, batch: int, row: int) -> ExamplePlan:
        """The plan of the image in row `row` of batch `batch`."""
        y1, x1, y2, x2 = self.windows[batch, row].tolist()
        brightness, contrast, saturation = self.jitter[batch, row].tolist()
        return ExamplePlan(
            record=int(self.records[batch, row]),
            window=(y1, x1, y2, x2),
            size=_pair(self.sizes[batch, row]),
            flip=bool(self.flips[batch, row]),
            jitter=(brightness, contrast, saturation),
            seed=int(self.seeds[batch, row]),
            padded=_pair(self.padded[batch]),
        )


def batches_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Number of full batches in an epoch. Raises `UserError` if the dataset does not fill one."""
    batches = len(dataset) // batch_size
    if not batches:
        raise UserError(
            f"{dataset.spec}: {len(dataset)} images do not fill a batch of {batch_size}; "
            f"lower train.batch_size or name a larger data set"
        )
    return batches


def plan_epoch(dataset: Dataset, settings: DataConfig, batch_size: int, seed: int, epoch: int) -> EpochPlan:
    """Plan a training epoch: `len(dataset) // batch_size` batches of images of similar size, in random order.

    Each augmentation has its own random stream, so enabling one does not change the others.

    Args:
        dataset: dataset to plan; only sizes and objects are used.
        settings: see `DataConfig`.
        batch_size: number of images per step over all workers.
        seed: seed of the run, >= 0.
        epoch: epoch number, counted from 0.

    Raises:
        UserError: the dataset does not fill one batch.
    """
    batches = batches_per_epoch(dataset, batch_size)
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence([seed, epoch]).spawn(8)]
    for_order, for_focus, for_crop, for_scale, for_flip, for_jitter, for_seeds, for_batches = streams
    count = len(dataset)

    originals = _image_sizes(dataset)
    focus = _focus_boxes(dataset, for_focus)
    windows = _crop_windows(originals, focus, settings.crop, for_crop)
    extents = windows[:, 2:] - windows[:, :2]
    sizes = _resize(extents, _scales(extents, focus, settings, for_scale))

    chosen = for_order.permutation(count)[: batches * batch_size]
    chosen = chosen[_similar_sizes_together(sizes[chosen], settings.bucket_multiple)]
    records = chosen.reshape(batches, batch_size)[for_batches.permutation(batches)]
    sizes = sizes[records]  # [batches, batch_size, 2]
    if settings.resize == "random":
        short = for_scale.choice(np.asarray(settings.random_short_sides), size=(batches, 1))
        sizes = _resize(extents[records], _short_side_scale(extents[records], short, settings.long_side))

    return EpochPlan(
        records=records.astype(np.int32),
        windows=windows[records].astype(np.int32),
        sizes=sizes,
        flips=(for_flip.random(count) < 0.5)[records] & settings.flip,
        jitter=(1.0 + settings.colour_jitter * for_jitter.uniform(-1, 1, (count, 3)))[records].astype(np.float32),
        seeds=for_seeds.integers(2**31 - 1, size=count)[records].astype(np.int32),
        padded=_round_up(sizes.max(axis=1), settings.bucket_multiple),
    )


def _image_sizes(dataset: Dataset) -> np.ndarray:
    """int64 `[n, 2]`, height and width."""
    return np.array([(r.height, r.width) for r in dataset.records], np.int64).reshape(-1, 2)


def _focus_boxes(dataset: Dataset, rng: np.random.Generator) -> np.ndarray:
    """One random object per image, float64 `[n, 4]`; NaN if all objects of an image are difficult or crowd."""
    counts = np.array([len(r.boxes) for r in dataset.records], np.int64)
    focus = np.full((len(dataset), 4), np.nan)
    draws = rng.random(len(dataset))
    if not counts.sum():
        return focus
    usable = ~np.concatenate([r.difficult | r.crowd for r in dataset.records])
    image = np.repeat(np.arange(len(dataset)), counts)[usable]
    boxes = np.concatenate([r.boxes for r in dataset.records])[usable]
    counts = np.bincount(image, minlength=len(dataset))
    first = np.cumsum(counts) - counts
    has_one = counts > 0
    focus[has_one] = boxes[(first + np.floor(draws * counts).astype(np.int64))[has_one]]
    return focus


def _crop_windows(originals: np.ndarray, focus: np.ndarray, probability: float, rng: np.random.Generator) -> np.ndarray:
    """int64 `[n, 4]`: the whole image or, with the given probability, a random crop that contains the focus object."""
    count = len(originals)
    whole = np.concatenate([np.zeros_like(originals), originals], axis=1)
    cropped = (rng.random(count) < probability) & ~np.isnan(focus[:, 0])
    share = rng.uniform(*CROP_SHARE, count)
    root = np.exp(rng.uniform(np.log(CROP_RATIO[0]), np.log(CROP_RATIO[1]), count) / 2)
    position = rng.random((count, 2))

    inside = np.where(cropped[:, None], focus, whole)
    low = np.clip(np.floor(inside[:, :2]).astype(np.int64), 0, originals - 1)
    high = np.clip(np.ceil(inside[:, 2:]).astype(np.int64), low + 1, originals)
    wanted = np.rint(np.stack([share * root, share / root], axis=1) * originals).astype(np.int64)
    length = np.clip(wanted, high - low, originals)
    first, last = np.maximum(high - length, 0), np.minimum(low, originals - length)
    start = first + np.floor(position * (last - first + 1)).astype(np.int64)
    return np.where(cropped[:, None], np.concatenate([start, start + length], axis=1), whole)


def _scales(extents: np.ndarray, focus: np.ndarray, settings: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Resize factor of each window, float64 `[n]`; for "random", the factor at which sizes are compared."""
    if settings.resize == "random":
        return _short_side_scale(extents, max(settings.random_short_sides), settings.long_side)
    fixed = _short_side_scale(extents, settings.short_side, settings.long_side)
    if settings.resize == "fixed":
        return fixed
    # "dynamic": the side of an object is the square root of its area, like the scale of an anchor.
    target = rng.uniform(*DYNAMIC_TARGETS[settings.dynamic_variant], len(extents))
    side = np.sqrt(np.prod(focus[:, 2:] - focus[:, :2], axis=1))
    scale = np.maximum(target / side, settings.dynamic_min_short / extents.min(axis=1))
    scale = np.minimum(scale, min(settings.dynamic_max_long, settings.long_side) / extents.max(axis=1))
    return np.where(np.isnan(scale), fixed, scale)


def _short_side_scale(extents: np.ndarray, short: int | np.ndarray, cap: int) -> np.ndarray:
    """The factor that makes the short side `short`, limited so that the long side does not exceed `cap`."""
    return np.minimum(short / extents.min(axis=-1), cap / extents.max(axis=-1))


def _resize(extents: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int32 `[..., 2]`, at least one pixel."""
    return np.maximum(np.rint(extents * scales[..., None]), 1).astype(np.int32)


def _round_up(sizes: np.ndarray, multiple: int) -> np.ndarray:
    return (-(-sizes // multiple) * multiple).astype(np.int32)


def _similar_sizes_together(sizes: np.ndarray, multiple: int) -> np.ndarray:
    """An order in which neighbours have similar padded sizes: by height, then alternately up and down in width.

    The sort is stable, so images of the same padded size keep their random order.
    """
    rows, columns = _round_up(sizes, multiple).T // multiple
    return np.lexsort((np.where(rows % 2, -columns, columns), rows))


def _pair(values: np.ndarray) -> tuple[int, int]:
    first, second = values.tolist()
    return first, second
