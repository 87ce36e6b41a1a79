"""RoI features of a dataset from a detector's head, streamed to disk for boosting (paper section 4)."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.data.given import GivenProposals
from zip_keras.data.records import ImageRecord
from zip_keras.errors import UserError
from zip_keras.inference.runner import load_images
from zip_keras.models.detector import Detector
from zip_keras.models.two_stage import TwoStageNetwork
from zip_keras.targets.rois import sample_rois
from zip_keras.utils.files import atomic_write
from zip_keras.utils.reading import DOCUMENT, read_json

_STATE, _FEATURES, _CLASSES = "state.json", "features.float32", "classes.int32"
_IMAGES_BETWEEN_STATES = 32


class FeatureStore:
    """Features and classes of RoIs in a folder, stored image by image; a stopped program can resume.

    `features.float32` holds rows of `num_features` numbers and `classes.int32` one number per row. `state.json` holds
    the number of complete images and rows; data after them are overwritten.

    Args:
        folder: folder of the store; created if missing.
        num_features: F, number of features per RoI.
        made_by: everything that the features depend on, as JSON values.

    Attributes:
        images, rows: number of complete images and rows.

    Raises:
        UserError: the folder holds other files, or features with another `made_by`.
    """

    def __init__(self, folder: str | Path, num_features: int, made_by: Mapping[str, Any]):
        self.folder, self.num_features = Path(folder), num_features
        self.images = self.rows = 0
        self._digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        if (self.folder / _STATE).is_file():
            self._go_on()
        elif self.folder.is_dir() and any(self._strange_files()):
            raise UserError(f"{self.folder}: holds other things than features of RoIs; name a new or an empty folder")

    def add(self, features: np.ndarray, classes: np.ndarray) -> None:
        """Add the RoIs of the next image: features `[n, F]` and classes `[n]`.

        Raises:
            UserError: the disk is full, or the folder cannot be written.
        """
        self._waiting.append((np.asarray(features, np.float32), np.asarray(classes, np.int32)))
        if len(self._waiting) >= _IMAGES_BETWEEN_STATES:
            self.flush()

    def flush(self) -> None:
        """Write the added images to disk. Raises `UserError` as `add` does."""
        if not self._waiting:
            return
        columns = [np.concatenate(parts) for parts in zip(*self._waiting, strict=True)]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, rows, width in zip((_FEATURES, _CLASSES), columns, (self.num_features, 1), strict=True):
                file = self.folder / name
                with open(file, "r+b" if file.exists() else "wb") as stream:
                    stream.seek(self.rows * width * 4)
                    stream.truncate()
                    stream.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror or error}") from None
        self.images += len(self._waiting)
        self.rows += len(columns[1])
        self._waiting = []
        state = {"images": self.images, "rows": self.rows, "num_features": self.num_features, "made_by": self._digest}
        with atomic_write(self.folder / _STATE) as unfinished:
            unfinished.write_text(json.dumps(state) + "\n", encoding="utf-8")

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All complete rows: features float32 `[n, F]` as a memory map, and classes int32 `[n]`."""
        if not self.rows:
            return np.zeros((0, self.num_features), np.float32), np.zeros(0, np.int32)
        shape = (self.rows, self.num_features)
        features = np.memmap(self.folder / _FEATURES, np.float32, "r", shape=shape)
        return features, np.fromfile(self.folder / _CLASSES, np.int32, self.rows)

    def remove(self) -> None:
        """Delete the files of the store."""
        for name in (_STATE, _FEATURES, _CLASSES):
            (self.folder / name).unlink(missing_ok=True)

    def _strange_files(self) -> list[str]:
        """Names of files that do not belong to a store; names with a leading dot are locks and unfinished files."""
        return [f.name for f in self.folder.iterdir() if f.name not in (_FEATURES, _CLASSES) and f.name[0] != "."]

    def _go_on(self) -> None:
        state = read_json(self.folder / _STATE, DOCUMENT)
        names = ("images", "rows", "num_features", "made_by")
        if not isinstance(state, dict) or set(state) != set(names):
            raise UserError(f"{self.folder / _STATE}: says nothing about features of RoIs; delete the folder")
        if state["made_by"] != self._digest or state["num_features"] != self.num_features:
            raise UserError(
                f"{self.folder}: holds features of another model, other images or other RoIs; delete the folder or "
                "name another one"
            )
        sizes = {_FEATURES: state["rows"] * self.num_features * 4, _CLASSES: state["rows"] * 4}
        for name, size in sizes.items():
            file = self.folder / name
            if state["rows"] and (not file.is_file() or file.stat().st_size < size):
                raise UserError(f"{file}: is shorter than {_STATE} says; delete the folder")
        self.images, self.rows = state["images"], state["rows"]


def compile_roi_features(
    detector: Detector, per_image: int, positive_iou: float | None = None, negative_iou: float | None = None
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Compile a function that returns the features and classes of RoIs sampled as in training.

    Images are not flipped; they are processed at all scales of the detector.

    Args:
        detector: a two-stage detector.
        per_image: maximum number of RoIs per image and scale.
        positive_iou, negative_iou: replace the thresholds of training, see `RoITargetConfig`; RoIs with an IoU between
            them are not sampled.

    Returns:
        A function of an image's record, pixels, seed and `GivenProposals` (or None) that returns features float32
        `[n, F]` and classes int32 `[n]` (0 background, 1 to C).

    Raises:
        UserError: the detector has one stage, or the thresholds are invalid.
    """
    network = detector.network
    if not isinstance(network, TwoStageNetwork):
        raise UserError("boosting learns from the second stage; this detector has one stage")
    ious = {"positive_iou": positive_iou, "negative_iou": negative_iou}
    changes: dict[str, Any] = {name: value for name, value in ious.items() if value is not None}
    config = dataclasses.replace(network.detector_config.targets, per_image=per_image, **changes)

    @tf.function(reduce_retracing=True, autograph=False)
    def of_image(images, targets):
        images = tf.cast(images, tf.float32)
        size = tf.cast(tf.shape(images)[1:3], tf.float32)
        parts = []
        for resizing in detector.resizings:
            resized = resizing(images)
            height, width = tf.unstack(tf.shape(resized)[1:3])
            new_size = tf.cast(tf.stack([height, width]), tf.float32)
            boxes = {name: targets[name] * tf.tile(new_size / size, [2]) for name in _BOXES if name in targets}
            of_scale = {**targets, **boxes, "size": new_size[None]}
            outputs = network(resized, training=False)
            found = network.training_proposals(of_scale, outputs, height, width)
            sample = sample_rois(found.boxes, found.valid, found.levels, of_scale, config, network.config.anchors)
            rois = (outputs["maps"], sample.boxes, sample.levels)
            features = network.roi_head(*rois, training=False, with_features=True)[2]
            used = sample.used[0] > 0
            parts.append((tf.boolean_mask(features[0], used), tf.boolean_mask(sample.classes[0], used)))
        return tuple(tf.concat(columns, axis=0) for columns in zip(*parts, strict=True))

    def features_of(record: ImageRecord, image: np.ndarray, seed: int, given: GivenProposals | None = None):
        missing = int(not len(record.boxes))  # matching needs at least one box
        targets = {
            "boxes": np.pad(record.boxes.astype(np.float32), ((0, missing), (0, 0))),
            "classes": np.pad(record.classes.astype(np.int32), (0, missing), constant_values=-1),
            "difficult": np.pad(record.difficult, (0, missing)),
            "crowd": np.pad(record.crowd, (0, missing)),
            "seed": np.int32(seed),
        }
        if given is not None:
            missing = int(not len(given))
            targets["proposals"] = np.pad(given.boxes, ((0, missing), (0, 0)))
            targets["proposal_levels"] = np.pad(given.levels, (0, missing))
        batch = {name: tf.convert_to_tensor(np.asarray(value)[None]) for name, value in targets.items()}
        features, classes = of_image(tf.convert_to_tensor(image[None]), batch)
        return features.numpy(), classes.numpy()

    return features_of


_BOXES = ("boxes", "proposals")  # targets that are scaled with the image


def store_features(
    store: FeatureStore,
    features_of: Callable[..., tuple[np.ndarray, np.ndarray]],
    records: Sequence[ImageRecord],
    seed: int,
    given: Sequence[GivenProposals] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> None:
    """Add the RoIs of the records that the store does not hold yet.

    Args:
        store: the store to extend.
        features_of: function from `compile_roi_features`.
        records: all records, in the order of the store.
        seed: seed of the RoI sampling; record i uses `seed + i`.
        given: proposals of each record; None for those of the network.
        progress: wraps the remaining images.

    Raises:
        UserError: an image is missing or broken; images before it are kept.
    """
    first = store.images
    try:
        for number, (record, image) in enumerate(progress(load_images(records[first:])), first):
            if isinstance(image, UserError):
                raise image
            store.add(*features_of(record, image, seed + number, None if given is None else given[number]))
    finally:
        store.flush()
