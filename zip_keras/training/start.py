"""The initial network of a run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from zip_keras.backbones import get_backbone
from zip_keras.config import ExperimentConfig
from zip_keras.errors import UserError
from zip_keras.models.two_stage import TwoStageNetwork
from zip_keras.presets import weights_file
from zip_keras.training.classifier_start import start_classes
from zip_keras.training.networks import new_network
from zip_keras.training.run_folder import say as tell
from zip_keras.weights.npz import load_weights
from zip_keras.weights.resnet import load_resnet_blocks


def build_network(
    config: ExperimentConfig,
    say: Callable[[str], None] = tell,
    load: bool = True,
    class_names: Sequence[str] = (),
) -> tuple[keras.Model, bool]:
    """Build the network of a config: load its initial weights, mirror them and freeze blocks as configured.

    Args:
        config: the experiment.
        say: called with messages for the user.
        load: whether to read the weights files; a run that resumes from a checkpoint does not need them.
        class_names: class names of the training data, for a detector.

    Returns:
        The network, and whether a file set all of its weights, so that it can be evaluated before the first step.

    Raises:
        UserError: the weights file does not fit, or `train.freeze` is not the name of a block.
    """
    settings = config.train
    if config.model.batch_norm == "frozen" and not settings.weights:
        raise UserError(
            "model.batch_norm is frozen, which needs pretrained weights; set train.weights, or model.batch_norm to "
            "synchronized to train from scratch"
        )
    network = new_network(config, class_names)
    whole = False
    if settings.head_weights and load:
        if not isinstance(network, TwoStageNetwork):
            raise UserError(
                "train.head_weights are for the head of a detector of two stages; set detector.kind=two_stage"
            )
        count = load_resnet_blocks(network.roi_head, settings.head_weights)
        say(f"{settings.head_weights}: {count} convolutions of the head loaded")
    if settings.weights and load:
        report = load_weights(network, weights_file(settings.weights))
        say(f"{settings.weights}: {report}")
        whole = not report.kept
        if config.detector.start_classes:
            say(start_classes(network, Path(weights_file(settings.weights))))
        backbone = network.backbone_paths
        missing = [line for line in report.kept if line.partition(":")[0] in backbone]
        if missing and config.model.batch_norm == "frozen":
            raise UserError(
                f"{settings.weights}: {len(missing)} variables of the backbone are not in it ({missing[0]}), and with "
                "model.batch_norm=frozen they would stay as random as they are; name weights of this backbone and width"
            )
        # The weights of a whole network contain a trained zoom-in stream, which must not be overwritten.
        only_backbone = not any(path.startswith("zoom_in_") for path in report.loaded)
        if only_backbone and config.model.mirror_initialisation and get_backbone(config.model.backbone).mirror_weights:
            say(str(network.copy_mirror_weights()))
    if settings.freeze:
        names = list(network.backbone_layers)
        if settings.freeze != "backbone" and settings.freeze not in names:
            raise UserError(
                f"train.freeze {settings.freeze!r} is no block of the backbone; there are {', '.join(names)}"
            )
        last = len(names) if settings.freeze == "backbone" else names.index(settings.freeze) + 1
        for name in names[:last]:
            network.backbone_layers[name].trainable = False
    return network, whole
