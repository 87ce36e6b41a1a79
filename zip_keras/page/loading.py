"""Load models for the page."""

import dataclasses
from pathlib import Path

import numpy as np

from zip_keras.analysis.attention.extraction import Attend, compile_attention
from zip_keras.errors import UserError
from zip_keras.inference.boxes import Detections
from zip_keras.inference.detectors import compile_detector, load_keras_detector
from zip_keras.inference.loading import load_keras_proposer
from zip_keras.inference.model_files import is_detector
from zip_keras.inference.runner import InferenceRunner
from zip_keras.models.detector import Detector
from zip_keras.models.proposer import Proposer
from zip_keras.page.model import Choice, PageModel
from zip_keras.plots.detections import LABELLED_SCORE
from zip_keras.plots.selection import SHOWN_COUNT, SHOWN_IOU


def open_model(model: str | Path) -> PageModel:
    """Load a model: a preset, run folder, `.keras` file or export.

    Raises:
        UserError: the model does not exist or cannot be loaded.
    """
    if is_detector(model):
        return page_detector(load_keras_detector(model), str(model))
    return page_proposer(load_keras_proposer(model), str(model))


def page_proposer(proposer: Proposer, name: str) -> PageModel:
    """Prepare a proposer. `Choice(count, 0, 1)` selects the best boxes of `zip_keras.propose`."""
    runner = InferenceRunner(proposer)
    most = runner.output_size
    return PageModel(name, None, runner, Choice(min(SHOWN_COUNT, most), 0.0, SHOWN_IOU), most, _attention(proposer))


def page_detector(detector: Detector, name: str) -> PageModel:
    """Prepare a detector. A `Choice` of its own limits and thresholds selects the boxes of `zip_keras.detect`."""
    config = detector.postprocess_config
    before_nms = dataclasses.replace(
        config, nms_iou=1.0, score_threshold=0.0, max_detections=max(config.pre_nms_top_n, config.max_detections)
    )
    run = compile_detector(detector.with_options(postprocess=before_nms))
    names = detector.class_names

    def look(image: np.ndarray) -> Detections:
        found = run(image)
        return Detections(found["boxes"], found["scores"], found["levels"], found["classes"], names)

    start = Choice(config.max_detections, max(config.score_threshold, LABELLED_SCORE), config.nms_iou)
    return PageModel(name, names, look, start, config.max_detections, _attention(detector))


def _attention(model: Proposer | Detector) -> Attend | None:
    try:
        return compile_attention(model)
    except UserError:  # the network has no MAD: the page omits map attention
        return None
