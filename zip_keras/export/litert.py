"""Export a proposer or detector to LiteRT (TensorFlow Lite), including NMS, for images of one size."""

import tempfile
from pathlib import Path

import tensorflow as tf

from zip_keras.inference.portable_files import describe_model
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.ops.converting import converting


def write_litert(model: Proposer | Detector, file: Path, size: tuple[int, int]) -> None:
    """Write a file with the signature `serving_default`: input `images` uint8 `[1, H, W, 3]`, outputs as the model's.

    The file uses only built-in LiteRT operations, so every LiteRT runtime can run it.

    Args:
        model: the model to convert.
        file: output file; its folder is created.
        size: H and W.
    """
    with tempfile.TemporaryDirectory() as folder, converting("litert"):
        served = _Fixed(model, size)
        tf.saved_model.save(served, folder, signatures=served.signature)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    describe_model(file, model, size=size)


class _Fixed(tf.Module):
    def __init__(self, model, size):
        super().__init__()
        self._weights = [variable.value for variable in model.variables]
        spec = tf.TensorSpec([1, *size, 3], tf.uint8, name="images")
        self.signature = tf.function(
            lambda images: model(images, training=False), input_signature=[spec], autograph=False
        )
