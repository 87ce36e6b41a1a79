"""Load and run detectors from a run folder, a `.keras` file, an export, a preset, or a file of another runtime."""

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
    """Load the `Detector` of a run folder, a `.keras` file, a preset, or an export's `.keras` file.

    Raises:
        UserError: the model does not exist, cannot be loaded, or is a proposer.
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
    """The same network with other options; None keeps the detector's value.

    Args:
        max_detections, score_threshold: see `DetectionConfig`. `pre_nms_top_n` is raised to `max_detections` if it is
            smaller.
        short_sides, long_side, flip: see `Detector`. If only `short_sides` is given, the long side is scaled in
            proportion.

    Raises:
        UserError: a value is invalid.
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
    """Changes to a detector's options, see `with_detection_options`; None keeps the detector's value."""

    max_detections: int | None = None
    score_threshold: float | None = None
    short_sides: Sequence[int] | None = None
    long_side: int | None = None
    flip: bool | None = None


class DetectorRunner:
    """A detector as a function of one image.

    It maps uint8 `[H, W, 3]` RGB to the valid detections: `boxes [n, 4]`, `scores [n]`, `classes [n]`, `levels [n]`.

    Args:
        runtime: maps uint8 `[1, H, W, 3]` to the outputs of a `Detector`.
        class_names: class names in the order of the class numbers.
        shorter: `max_detections` and `score_threshold`, applied to the outputs of the runtime.
        detector: the Keras model, which classifies `GivenProposals`; None if the runtime has no Keras model.
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
        missing = int(not len(given))  # an empty box as padding: the network needs at least one
        boxes, levels = np.pad(given.boxes, ((0, missing), (0, 0))), np.pad(given.levels, (0, missing))
        return self._classify(*(tf.convert_to_tensor(x[None]) for x in (image, boxes, levels)))


def open_detector(model: Detector | str | Path, options: DetectionOptions | None = None) -> DetectorRunner:
    """Open a detector: a `Detector`, preset, run, `.keras` file, export, or its `.onnx`, `.xml` or `.tflite` file.

    Raises:
        UserError: the model does not exist, cannot be loaded, is a proposer, or does not support the options.
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
    """Compile a detector to a TensorFlow graph, traced once for all image sizes. Later weight updates take effect."""
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
    """Detect on every record; boxes are in pixels of its image.

    Args:
        detect: a function as returned by `compile_detector`.
        proposals: proposals of each record, used instead of the network's.

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
    """Add the output of a `DetectorRunner` for one image; category ids are class numbers + 1."""
    categories = np.asarray(found["classes"], np.int64) + 1
    detections.add_xywh(image_id, to_xywh(found["boxes"]), found["scores"], categories, found["levels"])
