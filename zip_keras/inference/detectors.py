"""Detectors by name: a run folder, a `.keras` file, an exported SavedModel, a preset, or a file of another runtime."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zip_keras.data.given import GivenProposals
from zip_keras.data.records import ImageRecord
from zip_keras.errors import UserError
from zip_keras.inference.keras_file import load_keras_model
from zip_keras.inference.model_files import DETECTOR_FILE, find_model
from zip_keras.inference.portable_files import is_portable
from zip_keras.inference.portable_runtimes import (
    LiteRtRuntime,
    OnnxRuntime,
    OpenVinoRuntime,
    build_around,
    describe_for,
)
from zip_keras.inference.runner import load_images
from zip_keras.models.detector import Detector
from zip_keras.predictions.container import ImageId, Predictions, to_xywh


def load_keras_detector(model: str | Path) -> Detector:
    """The `Detector` of a run folder, a `.keras` file or a preset, or of the `.keras` file that an export carries.

    Raises:
        UserError: no such model, it cannot be loaded, or it is a proposer.
    """
    missing = "it holds no detector; `zip-keras propose` runs proposers"
    otherwise = "`zip-keras propose` runs proposers, and detector.kind=two_stage trains a detector"
    return load_keras_model(model, Detector, DETECTOR_FILE, missing, otherwise)


def with_detection_options(
    detector: Detector,
    max_detections: int | None = None,
    score_threshold: float | None = None,
    short_sides: Sequence[int] | None = None,
    long_side: int | None = None,
    flip: bool | None = None,
) -> Detector:
    """The same network with other options; None keeps what the detector has.

    Args:
        max_detections, score_threshold: see `DetectionConfig`. More pairs of box and class enter the NMS where as many
            detections are asked for.
        short_sides, long_side, flip: see `Detector`. Without a long side, new short sides keep the old proportion.

    Raises:
        UserError: a value that cannot be.
    """
    config = detector.postprocess_config
    if max_detections is not None:
        if max_detections < 1:
            raise UserError(f"max_detections is {max_detections}; it must be at least 1")
        count = max(config.pre_nms_top_n, max_detections)
        config = dataclasses.replace(config, max_detections=max_detections, pre_nms_top_n=count)
    if score_threshold is not None:
        config = dataclasses.replace(config, score_threshold=score_threshold)
    sides = detector.short_sides if short_sides is None else tuple(short_sides)
    if any(side is not None and side < 1 for side in sides) or not sides:
        raise UserError(f"scales must be sizes in pixels, at least one, not {list(sides)}")
    known, old = ([side for side in some if side is not None] for some in (sides, detector.short_sides))
    if long_side is None:
        long_side = round(detector.long_side * max(known) / max(old)) if known and old else detector.long_side
    if known and max(known) > long_side:
        raise UserError(f"the short side, {max(known)}, is longer than the long side, {long_side}; set both")
    return detector.with_options(
        postprocess=config,
        short_sides=list(sides),
        long_side=long_side,
        flip=detector.flip if flip is None else flip,
    )


_GIVEN_SPECS = [
    tf.TensorSpec([1, None, None, 3], tf.uint8),
    tf.TensorSpec([1, None, 4], tf.float32),
    tf.TensorSpec([1, None], tf.int32),
]


@dataclasses.dataclass(frozen=True)
class DetectionOptions:
    """Changes to a detector's answer, see `with_detection_options`; None keeps what it has."""

    max_detections: int | None = None
    score_threshold: float | None = None
    short_sides: Sequence[int] | None = None
    long_side: int | None = None
    flip: bool | None = None


class DetectorRunner:
    """A detector as a function of one image: uint8 `[H, W, 3]` RGB -> its valid places, `boxes [n, 4]`, `scores [n]`,
    `classes [n]`, `levels [n]`.

    Args:
        runtime: uint8 `[1, H, W, 3]` -> what a `Detector` returns.
        class_names: in the order of their numbers.
        shorter: what is left out of the runtime's answer: `max_detections` and `score_threshold`.
        detector: behind the runtime; None where it has none in Keras. With `GivenProposals` it classifies these.
    """

    def __init__(
        self,
        runtime: Callable[[np.ndarray], Mapping[str, Any]],
        class_names: Sequence[str],
        shorter: DetectionOptions = DetectionOptions(),
        detector: Detector | None = None,
    ):
        self.detector = detector
        self._classify = None
        if detector is not None:
            self._classify = tf.function(detector.classify, input_signature=_GIVEN_SPECS, autograph=False)
        self._runtime, self.class_names, self._shorter = runtime, tuple(class_names), shorter

    def __call__(self, image: np.ndarray, given: GivenProposals | None = None) -> dict[str, np.ndarray]:
        outputs = self._runtime(image[None]) if given is None else self._of_given(image, given)
        found = {name: np.asarray(values)[0] for name, values in outputs.items()}
        valid = found.pop("valid") & (found["scores"] >= (self._shorter.score_threshold or 0.0))
        return {name: values[valid][: self._shorter.max_detections] for name, values in found.items()}

    def _of_given(self, image: np.ndarray, given: GivenProposals) -> Mapping[str, Any]:
        if self._classify is None:
            raise UserError("proposals of a file need a run folder, .keras file, preset or SavedModel of a detector")
        missing = int(not len(given))  # one place without an area: networks need a box
        boxes, levels = np.pad(given.boxes, ((0, missing), (0, 0))), np.pad(given.levels, (0, missing))
        return self._classify(*(tf.convert_to_tensor(x[None]) for x in (image, boxes, levels)))


def open_detector(model: Detector | str | Path, options: DetectionOptions | None = None) -> DetectorRunner:
    """A detector, or what is stored of one: preset, run, `.keras` file, export or its `.onnx`, `.xml`, `.tflite` file.

    Raises:
        UserError: no such model, it cannot be loaded, it is a proposer, or its file does not take the options.
    """
    options = options or DetectionOptions()
    path = None if isinstance(model, Detector) else find_model(model)
    if path is None or not is_portable(path):
        detector = model if isinstance(model, Detector) else load_keras_detector(model)
        return compile_detector(with_detection_options(detector, **vars(options)))
    description = describe_for(path, "detector")
    if path.suffix == ".xml":
        detector = build_around(path, description)
        assert isinstance(detector, Detector)
        detector = with_detection_options(detector, **vars(options))
        return DetectorRunner(OpenVinoRuntime(path, description, detector), description.class_names)
    shorter = DetectionOptions(options.max_detections, options.score_threshold)
    if options != shorter or (options.max_detections or 0) > description.output_size:
        raise UserError(
            f"{path}: resizing and NMS are inside, for {description.output_size} boxes an image at most; export again "
            "with these options"
        )
    runtime = OnnxRuntime(path, description) if path.suffix == ".onnx" else LiteRtRuntime(path, description)
    return DetectorRunner(runtime, description.class_names, shorter)


def compile_detector(detector: Detector) -> DetectorRunner:
    """A detector as a TensorFlow graph, traced once for all sizes. Its weights may change afterwards."""
    traced = tf.function(
        lambda images: detector(images, training=False),
        input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)],
        autograph=False,
    )
    return DetectorRunner(lambda images: traced(tf.convert_to_tensor(images)), detector.class_names, detector=detector)


def detect_records(
    detect: Callable[..., dict[str, np.ndarray]],
    records: Iterable[ImageRecord],
    name: str = "detections",
    proposals: Sequence[GivenProposals] | None = None,
) -> Predictions:
    """The detections of every record, in pixels of its image.

    Args:
        detect: what `compile_detector` returns.
        proposals: of each record, instead of the network's.

    Raises:
        UserError: an image is missing or broken.
    """
    detections = Predictions(name)
    for number, (record, image) in enumerate(load_images(records)):
        if isinstance(image, UserError):
            raise image
        found = detect(image) if proposals is None else detect(image, proposals[number])
        add_detections(detections, record.image_id, found)
    return detections


def add_detections(detections: Predictions, image_id: ImageId, found: dict[str, np.ndarray]) -> None:
    """Adds what `compile_detector`'s function found on an image; the category ids are the class numbers + 1."""
    categories = np.asarray(found["classes"], np.int64) + 1
    detections.add_xywh(image_id, to_xywh(found["boxes"]), found["scores"], categories, found["levels"])
