"""The signatures of an exported model, of proposers and detectors alike, with everything inside: decoding to NMS.

Their names, and those of their inputs and outputs, are a promise to clients. docs/serving.md describes them.
"""

from typing import Any

import keras
import tensorflow as tf

from zip_keras.inference.decoding import decode_example_or_blank, decode_or_blank
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer

SIGNATURES = ("serving_default", "serving_default_with_options", "encoded", "encoded_with_options", "tf_example")

# What the README of an export says about inputs and outputs.
MEANINGS = {
    "images": "RGB, all of one size",
    "image_bytes": "JPEG, PNG, GIF (first frame), BMP or WebP files; sizes may differ",
    "examples": "serialized `tf.train.Example` with an image file in the bytes feature `image/encoded`",
    "max_boxes": "boxes of this image at most",
    "score_threshold": "boxes of this image score at least this",
    "boxes": "y1, x1, y2, x2 in pixels of the given image, best first",
    "normalized_boxes": "the same as shares of the image's height and width",
    "scores": "decreasing",
    "valid": "False after the last box of an image; its other values there are 0",
    "levels": "1, 2, 3 (strides 8, 16, 32): the level that found the box",
    "classes": "class numbers from 0",
    "class_names": "names of the classes; empty where not valid",
    "detection_boxes": "`normalized_boxes`, as the TensorFlow Object Detection API names them (ymin, xmin, ymax, xmax)",
    "detection_scores": "`scores`",
    "detection_classes": "class numbers from 1, as floats; 1 where not valid",
    "num_detections": "valid places",
    "decoded": "False where the bytes are no readable image, end early, or state more than 64 million pixels",
}

_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
_MAX_BOXES = tf.TensorSpec([None], tf.int32, name="max_boxes")
_SCORE_THRESHOLD = tf.TensorSpec([None], tf.float32, name="score_threshold")


class ServedModel(tf.Module):
    """A `Proposer` or a `Detector` as a module with the functions named in `SIGNATURES`.

    TensorFlow Serving wants every input of a signature, so the limits are inputs of signatures of their own. Each image
    has its own, float32 and int32 `[B]`, because TensorFlow Serving puts requests together along the first axis.

    Control flow is TensorFlow's own: looking for Python's (`autograph`) would only take time.

    Images of `encoded` and `tf_example` are processed one after the other: they differ in size, and padding to a common
    one would change the answers. An image that cannot be read has no valid place, and the others are answered.
    """

    def __init__(self, model: Proposer | Detector):
        super().__init__()
        # Keras variables in an exported object are saved as copies beside the ones that the graph reads. Only Python's
        # loader puts the two together: TensorFlow Serving and the C API would not find a value. So the module holds the
        # TensorFlow variables themselves, and the Keras model where tracking does not look.
        self._weights = [variable.value for variable in model.variables]
        self._call_model = lambda images: model(images, training=False)
        self._class_names = list(model.class_names) if isinstance(model, Detector) else None
        spec = model.compute_output_spec(keras.KerasTensor((1, None, None, 3), "uint8"))
        self._specs = {name: tf.TensorSpec(values.shape[1:], values.dtype) for name, values in spec.items()}
        # One function that all signatures call: the network is in the file once.
        self._answer = tf.function(self._answer_images, input_signature=[_IMAGES], autograph=False)

    def signatures(self) -> dict[str, Any]:
        """The functions by name, for `tf.saved_model.save`."""
        return {name: getattr(self, name) for name in SIGNATURES}

    @tf.function(input_signature=[_IMAGES], autograph=False)
    def serving_default(self, images):
        return self._described(self._answer(images), _size_of(images))

    @tf.function(input_signature=[_IMAGES, _MAX_BOXES, _SCORE_THRESHOLD], autograph=False)
    def serving_default_with_options(self, images, max_boxes, score_threshold):
        found = self._limited(self._answer(images), max_boxes, score_threshold)
        return self._described(found, _size_of(images))

    @tf.function(input_signature=[_IMAGE_BYTES], autograph=False)
    def encoded(self, image_bytes):
        found, size, decoded = self._answer_each(image_bytes, decode_or_blank)
        return {**self._described(found, size), "decoded": decoded}

    @tf.function(input_signature=[_IMAGE_BYTES, _MAX_BOXES, _SCORE_THRESHOLD], autograph=False)
    def encoded_with_options(self, image_bytes, max_boxes, score_threshold):
        found, size, decoded = self._answer_each(image_bytes, decode_or_blank)
        return {**self._described(self._limited(found, max_boxes, score_threshold), size), "decoded": decoded}

    @tf.function(input_signature=[_EXAMPLES], autograph=False)
    def tf_example(self, examples):
        found, size, decoded = self._answer_each(examples, decode_example_or_blank)
        return {**self._described(found, size), "decoded": decoded}

    def _answer_images(self, images):
        """The model's own outputs for a batch, which may be empty."""
        checked = tf.debugging.assert_positive(
            tf.shape(images)[1:3], "images: height and width must be at least 1 pixel"
        )
        with tf.control_dependencies([checked]):
            images = tf.identity(images)
        return tf.cond(tf.shape(images)[0] > 0, lambda: self._call_model(images), lambda: self._nothing(0))

    def _answer_each(self, encoded, decode):
        """The model's outputs for every string, the images' sizes float32 `[B, 2]`, and which could be decoded."""

        def of_string(content):
            image, decoded = decode(content)
            found = tf.cond(
                decoded,
                lambda: {name: values[0] for name, values in self._answer(image[None]).items()},
                self._nothing,
            )
            return found, tf.cast(tf.shape(image)[:2], tf.float32), decoded

        specs = (self._specs, tf.TensorSpec([2], tf.float32), tf.TensorSpec([], tf.bool))
        return tf.map_fn(of_string, encoded, fn_output_signature=specs, parallel_iterations=1)

    def _limited(self, found, max_boxes, score_threshold):
        """The first `max_boxes` places that score enough; the lists end with the longest one of the batch."""
        checked = tf.debugging.assert_non_negative(max_boxes, "max_boxes must not be negative")
        with tf.control_dependencies([checked]):
            place = tf.range(tf.shape(found["valid"])[1])[None]
            kept = found["valid"] & (place < max_boxes[:, None]) & (found["scores"] >= score_threshold[:, None])
        longest = tf.maximum(tf.reduce_max(tf.reduce_sum(tf.cast(kept, tf.int32), axis=1)), 0)

        def shortened(values):  # scores decrease, so what is kept comes first
            mask = kept if values.shape.rank == 2 else kept[..., None]
            return tf.where(mask, values, tf.zeros([], values.dtype))[:, :longest]

        return {name: shortened(values) for name, values in found.items() if name != "valid"} | {
            "valid": kept[:, :longest]
        }

    def _described(self, found, size):
        """Outputs in other units and under other names beside the model's own; `size` is `[B, 2]`, pixels."""
        boxes = tf.math.divide_no_nan(found["boxes"], tf.concat([size, size], axis=1)[:, None])
        result = {**found, "normalized_boxes": boxes}
        if self._class_names is None:
            return result
        valid, classes = found["valid"], found["classes"]
        return {
            **result,
            "class_names": tf.where(valid, tf.gather(tf.constant(self._class_names), classes), ""),
            "detection_boxes": tf.identity(boxes),
            "detection_scores": tf.identity(found["scores"]),
            "detection_classes": tf.cast(classes + 1, tf.float32),
            "num_detections": tf.reduce_sum(tf.cast(valid, tf.float32), axis=1),
        }

    def _nothing(self, *batch: int) -> dict[str, tf.Tensor]:
        """The answer without boxes: of one image, or of a batch."""
        return {name: tf.zeros([*batch, *spec.shape], spec.dtype) for name, spec in self._specs.items()}


def _size_of(images):
    """Height and width of a batch of images, float32 `[B, 2]`."""
    shape = tf.shape(images)
    return tf.tile(tf.cast(shape[None, 1:3], tf.float32), [shape[0], 1])
