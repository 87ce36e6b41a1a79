"""A proposer as a SavedModel in TensorFlow Serving's layout, with its `.keras` file inside. exported/README.md."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from zip_keras.errors import UserError
from zip_keras.inference.decoding import decode_or_blank
from zip_keras.inference.manifest import write_manifest
from zip_keras.inference.model_files import KERAS_FILE, next_version
from zip_keras.models.proposer import Proposer
from zip_keras.utils.locks import FolderLock


class ServedProposer(tf.Module):
    """The signatures of an export. Their names, and those of their inputs and outputs, are a promise to clients.

    `serving_default`: `images` uint8 `[B, H, W, 3]` RGB. `encoded`: `image_bytes` string `[B]`, each a JPEG, PNG, GIF,
    BMP or WebP file, of any sizes. Outputs of both: `boxes` float32 `[B, n, 4]` (y1, x1, y2, x2) in pixels of the given
    image, `scores` float32 `[B, n]` decreasing, `valid` bool `[B, n]`, `levels` int32 `[B, n]` (1, 2, 3: the level that
    found the box); places that are not valid are zero. `encoded` also gives `decoded` bool `[B]`: False where the bytes
    are no readable image, which then has no valid place, while the other images of the batch are answered.
    """

    def __init__(self, proposer: Proposer):
        super().__init__()
        # Keras variables in an exported object are saved as copies beside the ones that the graph reads. Only Python's
        # loader puts the two together: TensorFlow Serving and the C API would not find a value. So the module holds the
        # TensorFlow variables themselves, and the Keras model where tracking does not look.
        self._weights = [variable.value for variable in proposer.variables]
        self._call_proposer = lambda images: proposer(images, training=False)
        self._length = proposer.postprocess_config.output_size

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def serving_default(self, images):
        checked = tf.debugging.assert_positive(
            tf.shape(images)[1:3], "images: height and width must be at least 1 pixel"
        )
        with tf.control_dependencies([checked]):
            images = tf.identity(images)
        return tf.cond(tf.shape(images)[0] > 0, lambda: self._propose(images), lambda: self._nothing(0))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def encoded(self, image_bytes):
        """One image after the other: they differ in size, and padding to a common one would change the answers."""
        n = self._length
        return tf.map_fn(
            self._propose_encoded,
            image_bytes,
            fn_output_signature={
                "boxes": tf.TensorSpec([n, 4], tf.float32),
                "scores": tf.TensorSpec([n], tf.float32),
                "valid": tf.TensorSpec([n], tf.bool),
                "levels": tf.TensorSpec([n], tf.int32),
                "decoded": tf.TensorSpec([], tf.bool),
            },
            parallel_iterations=1,
        )

    def _propose(self, images):
        result = self._call_proposer(images)
        return {name: result[name] for name in ("boxes", "scores", "valid", "levels")}

    def _propose_encoded(self, image_bytes):
        image, decoded = decode_or_blank(image_bytes)

        def of_image():
            return {name: values[0] for name, values in self._propose(image[None]).items()}

        return {**tf.cond(decoded, of_image, self._nothing), "decoded": decoded}

    def _nothing(self, *batch: int) -> dict[str, tf.Tensor]:
        """The answer without boxes: of one image, or of a batch."""
        places = [*batch, self._length]
        return {
            "boxes": tf.zeros([*places, 4]),
            "scores": tf.zeros(places),
            "valid": tf.zeros(places, tf.bool),
            "levels": tf.zeros(places, tf.int32),
        }


def export_proposer(proposer: Proposer, folder: str | Path, version: int | None = None) -> Path:
    """Writes `folder`/VERSION, which appears complete or not at all.

    Args:
        proposer: what to export.
        folder: `exported/NAME`; made if missing.
        version: a free positive integer; None: one more than the highest there.

    Returns:
        the new folder: `saved_model.pb`, `variables/`, the Keras file `assets.extra/proposer.keras`, and
        `assets.extra/manifest.json`, see `zip_keras.inference.manifest`.

    Raises:
        UserError: the version is taken or below 1, the folder cannot be written or is in use by another export, or the
            backend is not TensorFlow.
    """

    def write_extra(unfinished: Path) -> None:
        proposer.save(unfinished / KERAS_FILE)
        write_manifest(unfinished, proposer.get_config())

    return write_version(ServedProposer(proposer), write_extra, folder, version)


def write_version(served: Any, write_extra: Callable[[Path], None], folder: str | Path, version: int | None) -> Path:
    """Writes a module with the signatures `serving_default` and `encoded` as `folder`/VERSION, whole or not at all.

    Args:
        write_extra: writes more into `assets.extra/` of the unfinished folder.
        folder, version: as of `export_proposer`, which also says what is raised.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("a SavedModel is made by the TensorFlow backend of Keras: set KERAS_BACKEND=tensorflow")
    folder = Path(folder)
    if version is not None and version < 1:
        raise UserError(f"--version {version}: versions are integers from 1 on")
    with FolderLock(folder):
        for leftover in folder.glob(".[0-9]*.part"):  # of exports that were killed: nobody else is at work here
            shutil.rmtree(leftover, ignore_errors=True)
        return _export(served, write_extra, folder, next_version(folder) if version is None else version)


def _export(served: Any, write_extra: Callable[[Path], None], folder: Path, version: int) -> Path:
    target = folder / str(version)
    if target.exists():
        raise UserError(f"{target}: exists already; name another --version, or none to take the next free one")
    # Not an integer: a serving process that watches the folder passes it over until it is renamed.
    unfinished = folder / f".{target.name}.{os.getpid()}.part"
    signatures = {"serving_default": served.serving_default, "encoded": served.encoded}
    try:
        unfinished.mkdir(parents=True)
        tf.saved_model.save(served, str(unfinished), signatures=signatures)
        (unfinished / KERAS_FILE).parent.mkdir(exist_ok=True)
        write_extra(unfinished)
        os.rename(unfinished, target)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"{target}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
