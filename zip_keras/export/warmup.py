"""`assets.extra/tf_serving_warmup_requests`: requests that TensorFlow Serving runs before a version gets traffic.

The first call of each signature optimises its graph and takes seconds. The file contains TFRecords of `PredictionLog`
with one request for each signature. It is written without `tensorflow-serving-api`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from zip_keras.client import protos, tensors
from zip_keras.data.encoded import IMAGE_KEY
from zip_keras.data.tfrecord.container import write_record

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(folder: Path) -> int:
    """Write the warm-up requests for a version folder with `saved_model.pb`, and return their number.

    Raises:
        ValueError: a signature has an input without an example value.
    """
    meta = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0]
    examples = _examples()
    file = folder / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    signatures = {name: s for name, s in sorted(meta.signature_def.items()) if not name.startswith("__")}
    with open(file, "wb") as stream:
        for name, signature in signatures.items():
            if unknown := set(signature.inputs) - set(examples):
                raise ValueError(f"signature {name}: no warm-up value for its inputs {sorted(unknown)}")
            log = protos.PredictionLog()
            request = log.predict_log.request
            request.model_spec.name, request.model_spec.signature_name = "warmup", name
            for key in signature.inputs:
                request.inputs[key].CopyFrom(tensors.to_proto(examples[key]()))
            write_record(stream, log.SerializeToString())
    return len(signatures)


def _examples() -> dict[str, Callable[[], np.ndarray | list[bytes]]]:
    """An example value for each possible input of a signature, for one image of 480 x 640 pixels."""
    y, x = np.mgrid[:480, :640].astype(np.float32)
    waves = np.stack([np.sin(x / 7 + y / 13), np.cos(x / 11), np.sin(y / 5) * np.cos(x / 3)], axis=-1)
    image = (127.5 + 127.5 * waves).astype(np.uint8)
    content = tf.io.encode_jpeg(image).numpy()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    example = tf.train.Example(features=tf.train.Features(feature={IMAGE_KEY: feature}))
    return {
        "images": lambda: image[None],
        "image_bytes": lambda: [content],
        "examples": lambda: [example.SerializeToString()],
        "max_boxes": lambda: np.array([100], np.int32),
        "score_threshold": lambda: np.array([0], np.float32),
    }
