"""Executes epoch plans with tf.data: reads, decodes, resizes, flips, jitters and pads what `planning.py` decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zip_keras.data.batch_targets import box_capacity, example_targets
from zip_keras.data.encoded import check_size, describe, jpeg_reduction, read_encoded, undecodable
from zip_keras.data.planning import GRAY_WEIGHTS, ExamplePlan, batches_per_epoch, plan_epoch, plan_evaluation
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError

if TYPE_CHECKING:
    from zip_keras.config import DataConfig

# What one image needs beyond its targets; a generator yields it, `_make_image` consumes it.
_SOURCE_SPEC = {
    "file": tf.TensorSpec([], tf.string),
    "offset": tf.TensorSpec([], tf.int64),
    "length": tf.TensorSpec([], tf.int64),
    "original": tf.TensorSpec([2], tf.int64),
    "window": tf.TensorSpec([4], tf.int32),
    "size": tf.TensorSpec([2], tf.int32),
    "flip": tf.TensorSpec([], tf.bool),
    "jitter": tf.TensorSpec([3], tf.float32),
    "padded": tf.TensorSpec([2], tf.int32),
}
# Around the message of a bad image in TensorFlow's error text; `describe_failure` finds it by them.
_OPEN, _CLOSE = "bad input >>>", "<<< bad input"


def training_batches(
    dataset: Dataset,
    settings: DataConfig,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    pad_value: tuple[float, float, float] = (0.0, 0.0, 0.0),
    replicas: int = 1,
    threads: int | None = None,
) -> tf.data.Dataset:
    """The endless training batches `(images, y)` of docs/ARCHITECTURE.md, from a given step on.

    Args:
        dataset: what to read.
        settings: see `DataConfig`.
        batch_size: images of a step over all workers.
        seed: of the run.
        start_step: the first batch; starting late costs nothing and gives what an uninterrupted run would have.
        shard: `(i, n)`: worker i of n gets rows `i * B / n ... (i + 1) * B / n` of every batch.
        pad_value: RGB written at the bottom and right.
        replicas: the worker's rows come as this many consecutive elements, one for each of its replicas
            (`tf.distribute` per-replica input); all of a step share their padded size.
        threads: CPU threads that read and decode, apart from those of the training step; None shares TensorFlow's pool.

    Returns:
        `images` float32 `[B / n / replicas, H, W, 3]`; height and width differ from batch to batch.

    Raises:
        UserError: the data set does not fill a batch, or the batch does not split evenly.
    """
    worker, workers = shard
    if batch_size % (workers * replicas):
        raise UserError(
            f"train.batch_size {batch_size} does not split over {workers} workers with {replicas} replicas each; "
            f"make it a multiple of {workers * replicas}"
        )
    share = batch_size // workers
    steps = batches_per_epoch(dataset, batch_size)
    capacity = box_capacity(dataset, settings)

    def examples() -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
        epoch, first = divmod(start_step, steps)
        while True:
            plan = plan_epoch(dataset, settings, batch_size, seed, epoch)
            for batch in range(first, steps):
                for row in range(worker * share, (worker + 1) * share):
                    example = plan.example(batch, row)
                    record = dataset.records[example.record]
                    yield _source(record, example), example_targets(record, example, capacity)
            epoch, first = epoch + 1, 0

    targets = {
        "boxes": tf.TensorSpec([capacity, 4], tf.float32),
        "classes": tf.TensorSpec([capacity], tf.int32),
        "difficult": tf.TensorSpec([capacity], tf.bool),
        "crowd": tf.TensorSpec([capacity], tf.bool),
        "size": tf.TensorSpec([2], tf.float32),
        "seed": tf.TensorSpec([], tf.int32),
        "index": tf.TensorSpec([], tf.int32),
    }
    make_image = _image_maker(settings.colour_jitter > 0, pad_value)
    batches = (
        tf.data.Dataset.from_generator(examples, output_signature=(_SOURCE_SPEC, targets))
        .map(lambda source, y: (make_image(source), y), num_parallel_calls=threads or tf.data.AUTOTUNE)
        .batch(share // replicas, drop_remainder=True)
    )
    return _finish(batches, threads)


def evaluation_images(dataset: Dataset, settings: DataConfig, threads: int | None = None) -> tf.data.Dataset:
    """Every image once, in order: `(image, scale, index)`.

    Returns:
        `image` float32 `[1, H, W, 3]`, whole, at the fixed short side, unpadded; `scale` float32 `[2]`, its height
        and width relative to the original's; `index` int32, the record number.
    """

    def examples() -> Iterator[tuple[dict[str, Any], np.ndarray, int]]:
        plan = plan_evaluation(dataset, settings)
        for step, record in enumerate(dataset.records):
            scale = plan.sizes[step, 0] / np.array([record.height, record.width])
            yield _source(record, plan.example(step, 0)), scale.astype(np.float32), step

    make_image = _image_maker(colour_jitter=False, pad_value=(0.0, 0.0, 0.0))
    signature = (_SOURCE_SPEC, tf.TensorSpec([2], tf.float32), tf.TensorSpec([], tf.int32))
    images = tf.data.Dataset.from_generator(examples, output_signature=signature).map(
        lambda source, scale, index: (make_image(source)[None], scale, index),
        num_parallel_calls=threads or tf.data.AUTOTUNE,
    )
    return _finish(images.apply(tf.data.experimental.assert_cardinality(len(dataset))), threads)


def describe_failure(error: Exception) -> UserError | None:
    """The message behind an error that iterating a data set of this module raised; None if it is no bad input."""
    # Assert prints each value in brackets, with a backslash before quotes and backslashes.
    found = re.search(rf"\[{_OPEN}\] \[(.*?)\] \[{_CLOSE}\]", str(error), re.DOTALL)
    return UserError(re.sub(r"\\(.)", r"\1", found[1])) if found else None


def _finish(dataset: tf.data.Dataset, threads: int | None) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # The rows of a batch belong to this worker already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    if threads:
        options.threading.private_threadpool_size = threads
    return dataset.prefetch(2).with_options(options)


def _source(record: ImageRecord, example: ExamplePlan) -> dict[str, Any]:
    return {
        "file": record.file,
        "offset": record.offset,
        "length": record.length,
        "original": (record.height, record.width),
        "window": example.window,
        "size": example.size,
        "flip": example.flip,
        "jitter": example.jitter,
        "padded": example.padded,
    }


def _image_maker(
    colour_jitter: bool, pad_value: tuple[float, float, float]
) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """The graph from a source to its image, float32 `[padded height, padded width, 3]`, 0..255."""

    def make_image(source: dict[str, tf.Tensor]) -> tf.Tensor:
        window, defect = tf.numpy_function(
            _read_window,
            [source[name] for name in ("file", "offset", "length", "original", "window", "size")],
            [tf.uint8, tf.string],
        )
        # An exception in the Python function would reach the user as a trace.
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(defect, ""), [_OPEN, defect, _CLOSE])]):
            window = tf.ensure_shape(window, [None, None, 3])
        image = _resize(window, source["size"])
        image = tf.cond(source["flip"], lambda: tf.reverse(image, axis=[1]), lambda: image)
        if colour_jitter:
            image = _jitter(image, source["jitter"])
        return _pad(image, source["padded"], tf.constant(pad_value, tf.float32))

    return make_image


def _read_window(
    file: bytes, offset: int, length: int, original: np.ndarray, window: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, bytes]:
    """Reads and decodes the window of an image, uint8 `[h, w, 3]`, an integer factor smaller where that is cheap.

    A Python function because it knows the file's name when decoding fails, and can choose the JPEG decoder's scale;
    TensorFlow's decoder runs outside the interpreter lock. The second value says what is wrong with the image.
    """
    name = file.decode()
    shown = describe(name, offset, length)
    try:
        encoded = read_encoded(name, int(offset), int(length))
        ratio = 1
        if encoded[:2] == b"\xff\xd8":
            ratio = jpeg_reduction(original, window, size)
            # The accurate method costs the same here and gives Pillow's pixels exactly; the default is 1 level off.
            image = tf.io.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE").numpy()
        else:
            image = tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy()
        check_size(shown, image.shape, original, ratio)
    except UserError as error:
        return np.zeros((1, 1, 3), np.uint8), str(error).encode()
    except tf.errors.OpError as error:
        reason = re.sub(r"{{.*?}} | \[Op:.*", "", error.message)
        return np.zeros((1, 1, 3), np.uint8), str(undecodable(shown, reason)).encode()
    y1, x1, y2, x2 = window.tolist()
    return (image if ratio > 1 else image[y1:y2, x1:x2]), b""


def _resize(window: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Bilinear, antialiased when shrinking; enlarging needs no antialiasing and is three times as fast without."""
    shrinks = tf.reduce_any(size < tf.shape(window)[:2])
    return tf.cond(
        shrinks,
        lambda: tf.image.resize(window, size, method="bilinear", antialias=True),
        lambda: tf.image.resize(window, size, method="bilinear"),
    )


def _jitter(image: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Brightness, then contrast around the mean gray, then saturation around each pixel's gray; clipped at the end."""
    brightness, contrast, saturation = tf.unstack(factors)
    image = image * brightness
    mean = tf.reduce_mean(tf.tensordot(image, GRAY_WEIGHTS, 1))
    image = mean + contrast * (image - mean)
    gray = tf.tensordot(image, GRAY_WEIGHTS, 1)[..., None]
    return tf.clip_by_value(gray + saturation * (image - gray), 0.0, 255.0)


def _pad(image: tf.Tensor, padded: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Fills up at the bottom and right."""
    height, width = tf.unstack(tf.shape(image)[:2])
    right = tf.broadcast_to(value, [height, padded[1] - width, 3])
    bottom = tf.broadcast_to(value, [padded[0] - height, padded[1], 3])
    return tf.concat([tf.concat([image, right], axis=1), bottom], axis=0)
