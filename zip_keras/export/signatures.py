"""The signatures of exported proposers and detectors. They contain the whole model, from image decoding to NMS.

The names of signatures, inputs and outputs are a stable interface for clients. See docs/serving.md.
"""

from typing import Any

import keras
import tensorflow as tf

from zip_keras.inference.decoding import decode_example_or_blank, decode_or_blank
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer

SIGNATURES = ("serving_default", "serving_default_with_options", "encoded", "encoded_with_options", "tf_example")

# Descriptions of inputs and outputs for the README of an export.
MEANINGS = {
    "images": "RGB, all of the same size",
    "image_bytes": "JPEG, PNG, GIF (first frame), BMP or WebP files; sizes may differ",
    "examples": "serialized `tf.train.Example` with an image file in the bytes feature `image/encoded`",
    "max_boxes": "maximum number of boxes for each image",
    "score_threshold": "minimum score of the boxes of each image",
    "boxes": "y1, x1, y2, x2 in pixels of the given image, best first",
    "normalized_boxes": "the same, relative to the image's height and width",
    "scores": "scores of the boxes, in decreasing order",
    "valid": "False after the last box of an image; the other outputs are 0 there",
    "levels": "level that found the box: 1, 2 or 3 (stride 8, 16 or 32)",
    "classes": "class numbers, starting at 0",
    "class_names": "class names; empty where not valid",
    "detection_boxes": "`normalized_boxes`, as the TensorFlow Object Detection API names them (ymin, xmin, ymax, xmax)",
    "detection_scores": "`scores`",
    "detection_classes": "class numbers, starting at 1, as floats; 1 where not valid",
    "num_detections": "number of valid boxes",
    "decoded": "False if the bytes are not a readable image, are truncated, or declare more than 64 million pixels",
}

_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
_EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
_MAX_BOXES = tf.TensorSpec([None], tf.int32, name="max_boxes")
_SCORE_THRESHOLD = tf.TensorSpec([None], tf.float32, name="score_threshold")


class ServedModel(tf.Module):
    """A `Proposer` or a `Detector` as a module with the functions named in `SIGNATURES`.

    TensorFlow Serving requires every input of a signature, so separate signatures take limits. The limits are given per
    image, int32 and float32 `[B]`, because TensorFlow Serving batches requests along the first axis.

    Control flow uses TensorFlow operations only, so AutoGraph is off to save time.

    Images of `encoded` and `tf_example` are processed one by one, since they differ in size and padding to a common
    size would change the results. An unreadable image has no valid boxes and does not affect the others.
    """

    def __init__(self, model: Proposer | Detector):
        super().__init__()
        # Keras variables of an exported object are saved as copies of the variables that the graph reads. Only the
        # Python loader connects the two; TensorFlow Serving and the C API would find no value. Therefore the module
        # tracks the TensorFlow variables and hides the Keras model from tracking in a closure.
        self._weights = [variable.value for variable in model.variables]
        self._call_model = lambda images: model(images, training=False)
        self._class_names = list(model.class_names) if isinstance(model, Detector) else None
        spec = model.compute_output_spec(keras.KerasTensor((1, None, None, 3), "uint8"))
        self._specs = {name: tf.TensorSpec(values.shape[1:], values.dtype) for name, values in spec.items()}
        # All signatures call this function, so the file contains the network once.
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
        """The model's outputs for every string, the image sizes float32 `[B, 2]`, and whether each was decoded."""

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
        """The first `max_boxes` boxes with sufficient scores, cut to the longest list of the batch."""
        checked = tf.debugging.assert_non_negative(max_boxes, "max_boxes must not be negative")
        with tf.control_dependencies([checked]):
            place = tf.range(tf.shape(found["valid"])[1])[None]
            kept = found["valid"] & (place < max_boxes[:, None]) & (found["scores"] >= score_threshold[:, None])
        longest = tf.maximum(tf.reduce_max(tf.reduce_sum(tf.cast(kept, tf.int32), axis=1)), 0)

        def shortened(values):  # scores decrease, so kept boxes come first
            mask = kept if values.shape.rank == 2 else kept[..., None]
            return tf.where(mask, values, tf.zeros([], values.dtype))[:, :longest]

        return {name: shortened(values) for name, values in found.items() if name != "valid"} | {
            "valid": kept[:, :longest]
        }

    def _described(self, found, size):
        """Add outputs in other units and under other names; `size` is `[B, 2]` in pixels."""
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
        """Outputs without boxes, for one image or a batch."""
        return {name: tf.zeros([*batch, *spec.shape], spec.dtype) for name, spec in self._specs.items()}


def _size_of(images):
    """Height and width of a batch of images, float32 `[B, 2]`."""
    shape = tf.shape(images)
    return tf.tile(tf.cast(shape[None, 1:3], tf.float32), [shape[0], 1])
