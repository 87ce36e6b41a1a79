"""The network of a config, and the model that evaluates, saves and serves it."""

from collections.abc import Sequence

import keras

from zip_keras.config import ExperimentConfig
from zip_keras.inference.detectors import with_detection_options
from zip_keras.inference.options import InferenceOptions
from zip_keras.models.detector import Detector
from zip_keras.models.one_stage import OneStageNetwork
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.proposer import Proposer
from zip_keras.models.two_stage import TwoStageNetwork


def new_network(config: ExperimentConfig, class_names: Sequence[str]) -> keras.Model:
    """A proposal network or detector with random weights, as set by `config.detector.kind`.

    Args:
        config: the experiment.
        class_names: class names of the training data; a proposal network ignores them.

    Raises:
        UserError: the parts of the config are incompatible, or a detector has no class.
    """
    detector = config.detector
    if detector.kind == "two_stage":
        rest = (detector, config.postprocess, class_names)
        return TwoStageNetwork(config.model, config.targets, config.loss, *rest)
    if detector.kind == "one_stage":
        return OneStageNetwork(config.model, config.targets, detector, class_names)
    return ProposalNetwork(config.model, config.targets, config.loss)


def new_predictor(config: ExperimentConfig, network: keras.Model) -> Proposer | Detector:
    """The `Proposer` or `Detector` for a network of `new_network`, with the scales of validation."""
    data = config.data
    if config.detector.kind == "none":
        proposer = Proposer(network, config.postprocess, data.short_side, data.long_side)
        if not data.test_short_sides:
            return proposer
        return InferenceOptions(short_sides=data.test_short_sides, long_side=data.test_long_side).apply(proposer)
    detector = Detector(network, short_sides=data.short_side, long_side=data.long_side)
    if not data.test_short_sides:
        return detector
    return with_detection_options(detector, short_sides=data.test_short_sides, long_side=data.test_long_side)
