"""Runs a proposer over images."""

import re
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import tensorflow as tf

from zip_keras.data.encoded import describe, read_encoded, undecodable
from zip_keras.data.records import ImageRecord
from zip_keras.inference.decoding import decode_rgb
from zip_keras.predictions.container import Predictions

# TensorFlow wraps a reason in the names of its node and operation.
_WRAPPING = re.compile(r"^\{\{.*?\}\}\s*|\s*\[Op:.*$")


class EncodedImage(Protocol):
    """Where the bytes of an image are: an `ImageRecord`, or an `ImageFile` of `zip_keras.inference.inputs`."""

    @property
    def file(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...


def decode_image(encoded: bytes, shown: str) -> np.ndarray:
    """JPEG, PNG, GIF (first frame) or BMP bytes to uint8 `[H, W, 3]` RGB, the pixels that an export sees too.

    Raises:
        UserError: the bytes are no such image, or it has more than `decoding.MAX_PIXELS`.
    """
    try:
        return decode_rgb(tf.constant(encoded)).numpy()
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
    for record in records:
        result = propose(load_image(record))
        proposals.add(record.image_id, result["boxes"], result["scores"], result.get("levels"))
    return proposals
