"""Runs a proposer over images."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import tensorflow as tf

from zip_keras.data.encoded import describe, read_encoded, undecodable
from zip_keras.data.records import ImageRecord
from zip_keras.errors import UserError
from zip_keras.inference.decoding import decode_in_graph
from zip_keras.inference.inputs import EncodedImage
from zip_keras.predictions.container import Predictions

Item = TypeVar("Item", bound=EncodedImage)

# TensorFlow wraps a reason in the names of its node and operation.
_WRAPPING = re.compile(r"^\{\{.*?\}\}\s*|\s*\[Op:.*$")


def decode_image(encoded: bytes, shown: str) -> np.ndarray:
    """JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `[H, W, 3]` RGB, the pixels that an export sees too.

    Raises:
        UserError: the bytes are no such image, or it has more than `MAX_PIXELS`.
    """
    try:
        return decode_in_graph(tf.constant(encoded)).numpy()
    except tf.errors.OpError as error:
        raise undecodable(shown, _WRAPPING.sub("", error.message.partition("\n")[0])) from None
    except UnicodeDecodeError:  # TensorFlow quotes the bytes in its reason
        raise undecodable(shown, "the header is cut short") from None


def load_image(record: EncodedImage) -> np.ndarray:
    """The image of a record, uint8 `[H, W, 3]` RGB, from its file or shard.

    Raises:
        UserError: it is missing or broken.
    """
    encoded = read_encoded(record.file, record.offset, record.length)
    return decode_image(encoded, describe(record.file, record.offset, record.length))


def load_images(records: Iterable[Item], ahead: int = 2) -> Iterator[tuple[Item, np.ndarray | UserError]]:
    """Each record with its image, or with the error if it is missing or broken; read in other threads.

    Args:
        records: of which `load_image` reads the images.
        ahead: images that are read while the caller works on one; they are in memory at once.
    """

    def load(record: Item) -> np.ndarray | UserError:
        try:
            return load_image(record)
        except UserError as error:
            return error

    readers = ThreadPoolExecutor(ahead, "image")
    try:
        waiting: deque[tuple[Item, Future]] = deque()
        for record in records:
            waiting.append((record, readers.submit(load, record)))
            if len(waiting) > ahead:
                first, image = waiting.popleft()
                yield first, image.result()
        while waiting:
            first, image = waiting.popleft()
            yield first, image.result()
    finally:
        readers.shutdown(cancel_futures=True)


def compile_proposer(proposer) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A `Proposer` as a function of one image: uint8 `[H, W, 3]` -> `boxes [n, 4]`, `scores [n]`, `levels [n]` of the
    valid places.

    Traced once for all sizes.
    """
    traced = tf.function(
        lambda images: proposer(images, training=False), input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)]
    )
    return lambda image: valid_places(traced(tf.convert_to_tensor(image[None])))


def valid_places(result: dict) -> dict[str, np.ndarray]:
    """The valid boxes of a batch of one: `boxes [n, 4]`, `scores [n]`, `levels [n]`."""
    valid = np.asarray(result["valid"])[0]
    return {name: np.asarray(result[name])[0][valid] for name in ("boxes", "scores", "levels")}


def propose_records(
    propose: Callable[[np.ndarray], dict[str, np.ndarray]], records: Iterable[ImageRecord], name: str = "proposals"
) -> Predictions:
    """The proposals of every record, in pixels of its image; `propose` is what `compile_proposer` returns."""
    proposals = Predictions(name)
    for record, image in load_images(records):
        if isinstance(image, UserError):
            raise image
        result = propose(image)
        proposals.add(record.image_id, result["boxes"], result["scores"], result.get("levels"))
    return proposals
