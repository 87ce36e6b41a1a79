"""Run a proposer over images."""

import contextlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf

from zip_keras.data.encoded import describe, read_encoded, undecodable
from zip_keras.data.records import ImageRecord
from zip_keras.errors import UserError
from zip_keras.inference.boxes import Boxes
from zip_keras.inference.decoding import decode_in_graph
from zip_keras.inference.inputs import EncodedImage
from zip_keras.inference.model_files import find_model
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runtimes import ProposerRuntime, Runtime, open_runtime
from zip_keras.models.proposer import Proposer
from zip_keras.predictions.container import Predictions

Item = TypeVar("Item", bound=EncodedImage)

# TensorFlow puts the names of the node and operation around an error message.
_WRAPPING = re.compile(r"^\{\{.*?\}\}\s*|\s*\[Op:.*$")


# In a graph an image takes 2.4 ms. Run one by one from Python, the operations on its segments take 33 ms.
_decode = tf.function(decode_in_graph, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def decode_image(encoded: bytes, shown: str) -> np.ndarray:
    """Decode JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `[H, W, 3]` RGB, with the decoder of exports.

    Raises:
        UserError: the bytes are no such image, or it has more than `MAX_PIXELS`.
    """
    with contextlib.suppress(tf.errors.OpError, UnicodeDecodeError):  # below, the message names no nodes of a graph
        return _decode(tf.constant(encoded)).numpy()
    try:
        return decode_in_graph(tf.constant(encoded)).numpy()
    except tf.errors.OpError as error:
        raise undecodable(shown, _WRAPPING.sub("", error.message.partition("\n")[0])) from None
    except UnicodeDecodeError:  # TensorFlow quotes the bytes in its message
        raise undecodable(shown, "the header is cut short") from None


def load_image(record: EncodedImage) -> np.ndarray:
    """Load the image of a record from its file or shard as uint8 `[H, W, 3]` RGB.

    Raises:
        UserError: the image is missing or broken.
    """
    encoded = read_encoded(record.file, record.offset, record.length)
    return decode_image(encoded, describe(record.file, record.offset, record.length))


def load_images(records: Iterable[Item], ahead: int = 2) -> Iterator[tuple[Item, np.ndarray | UserError]]:
    """Iterate over records with their images, or with the error if an image is missing or broken.

    Args:
        records: records for `load_image`.
        ahead: number of images that threads read in advance. They are in memory at the same time.
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


class InferenceRunner:
    """A proposer in any file format as a function of one image, used by all commands and `zip_keras.propose`.

    Args:
        model: a `Proposer`, or the name or path of one, see `model_files.find_model`.
        options: changes to its inference.

    Attributes:
        output_size: maximum number of boxes per image.

    Raises:
        UserError: the model does not exist, cannot be loaded, or does not support the options.
    """

    def __init__(self, model: Proposer | str | Path, options: InferenceOptions | None = None):
        options = options or InferenceOptions()
        self._runtime: Runtime
        if isinstance(model, Proposer):
            self._runtime = ProposerRuntime(model, options)
        else:
            self._runtime = open_runtime(find_model(model), options)
        self.output_size = min(self._runtime.output_size, options.max_proposals or self._runtime.output_size)

    def __call__(self, image: np.ndarray) -> Boxes:
        """The boxes of an image, uint8 `[H, W, 3]` RGB."""
        return Boxes.of_batch(self._runtime(image[None])).head(self.output_size)


def propose_records(
    runner: Callable[[np.ndarray], Boxes], records: Iterable[ImageRecord], name: str = "proposals"
) -> Predictions:
    """Propose on every record with an `InferenceRunner` or equivalent; boxes are in pixels of the record's image."""
    proposals = Predictions(name)
    for record, image in load_images(records):
        if isinstance(image, UserError):
            raise image
        found = runner(image)
        proposals.add(record.image_id, found.boxes, found.scores, found.levels)
    return proposals
