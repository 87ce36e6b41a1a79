"""A detector as a SavedModel in TensorFlow Serving's layout, with its `.keras` file and class names inside."""

import json
from pathlib import Path

import tensorflow as tf

from zip_keras.export.saved_model import write_version
from zip_keras.inference.decoding import decode_or_blank
from zip_keras.inference.manifest import write_manifest
from zip_keras.inference.model_files import DETECTOR_FILE
from zip_keras.models.detector import Detector

CLASS_NAMES_FILE = Path("assets.extra") / "class_names.json"


class ServedDetector(tf.Module):
    """The signatures of an export. Their names, and those of their inputs and outputs, are a promise to clients.

    `serving_default`: `images` uint8 `[B, H, W, 3]` RGB. `encoded`: `image_bytes` string `[B]`, each a JPEG, PNG, GIF
    or BMP file, of any sizes. Outputs of both: `boxes`, `scores`, `classes`, `valid` and `levels` as of `Detector`, and
    the same under the names of the TensorFlow Object Detection API: `detection_boxes` float32 `[B, n, 4]` (ymin, xmin,
    ymax, xmax as shares of the image), `detection_scores`, `detection_classes` float32 `[B, n]` from 1 (class number +
    1), `num_detections` float32 `[B]`. Places that are not valid are zero, their detection class 1. `encoded` also
    gives `decoded` bool `[B]`: False where the bytes are no readable image, which then has no valid place.
    """

    def __init__(self, detector: Detector):
        super().__init__()
        # As in ServedProposer: the TensorFlow variables themselves, and the Keras model where tracking does not look.
        self._weights = [variable.value for variable in detector.variables]
        self._call_detector = lambda images: detector(images, training=False)
        n = detector.postprocess_config.max_detections
        self._specs = {
            "boxes": tf.TensorSpec([n, 4], tf.float32),
            "scores": tf.TensorSpec([n], tf.float32),
            "classes": tf.TensorSpec([n], tf.int32),
            "valid": tf.TensorSpec([n], tf.bool),
            "levels": tf.TensorSpec([n], tf.int32),
            "detection_boxes": tf.TensorSpec([n, 4], tf.float32),
            "detection_scores": tf.TensorSpec([n], tf.float32),
            "detection_classes": tf.TensorSpec([n], tf.float32),
            "num_detections": tf.TensorSpec([], tf.float32),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def serving_default(self, images):
        checked = tf.debugging.assert_positive(
            tf.shape(images)[1:3], "images: height and width must be at least 1 pixel"
        )
        with tf.control_dependencies([checked]):
            images = tf.identity(images)
        return tf.cond(tf.shape(images)[0] > 0, lambda: self._detect(images), lambda: self._nothing(0))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def encoded(self, image_bytes):
        """One image after the other: they differ in size, and padding to a common one would change the answers."""
        return tf.map_fn(
            self._detect_encoded,
            image_bytes,
            fn_output_signature={**self._specs, "decoded": tf.TensorSpec([], tf.bool)},
            parallel_iterations=1,
        )

    def _detect(self, images):
        found = self._call_detector(images)
        height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
        return {
            **found,
            "detection_boxes": found["boxes"] / tf.stack([height, width, height, width]),
            "detection_scores": tf.identity(found["scores"]),
            "detection_classes": tf.cast(found["classes"] + 1, tf.float32),
            "num_detections": tf.reduce_sum(tf.cast(found["valid"], tf.float32), axis=1),
        }

    def _detect_encoded(self, image_bytes):
        image, decoded = decode_or_blank(image_bytes)

        def of_image():
            return {name: values[0] for name, values in self._detect(image[None]).items()}

        return {**tf.cond(decoded, of_image, self._nothing), "decoded": decoded}

    def _nothing(self, *batch: int) -> dict[str, tf.Tensor]:
        """The answer without boxes: of one image, or of a batch."""
        empty = {name: tf.zeros([*batch, *spec.shape], spec.dtype) for name, spec in self._specs.items()}
        return {**empty, "detection_classes": tf.ones_like(empty["detection_classes"])}


def export_detector(detector: Detector, folder: str | Path, version: int | None = None) -> Path:
    """Writes `folder`/VERSION, which appears complete or not at all.

    Args:
        detector: what to export.
        folder: `exported/NAME`; made if missing.
        version: a free positive integer; None: one more than the highest there.

    Returns:
        the new folder: `saved_model.pb`, `variables/`, the Keras file `assets.extra/detector.keras`,
        `assets.extra/class_names.json`, a list in the order of the class numbers, and `assets.extra/manifest.json`, see
        `zip_keras.inference.manifest`.

    Raises:
        UserError: the version is taken or below 1, the folder cannot be written, or the backend is not TensorFlow.
    """

    def write_extra(unfinished: Path) -> None:
        detector.save(unfinished / DETECTOR_FILE)
        (unfinished / CLASS_NAMES_FILE).write_text(json.dumps(list(detector.class_names)) + "\n", encoding="utf-8")
        write_manifest(unfinished, detector.get_config())

    return write_version(ServedDetector(detector), write_extra, folder, version)
