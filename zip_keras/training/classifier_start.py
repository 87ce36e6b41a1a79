"""Initial class scores of a one-stage detector, taken from a classifier of the same maps trained on COCO.

The classifier is a 1x1 convolution of F(m). The head applies a 3x3 convolution, ReLU and a 1x1 convolution to F(m)
concatenated with H(m). The first channels of the hidden map are therefore initialized as copies of F(m), shifted above
zero so that ReLU does not change them. The initial scores of all anchors of a cell equal the classifier's for that
cell.
"""

import math
from pathlib import Path

import numpy as np
from keras import ops

from zip_keras.errors import UserError
from zip_keras.layers.rpn_head import RPNHead
from zip_keras.models.one_stage import OneStageNetwork
from zip_keras.weights.coco_classes import coco_number
from zip_keras.weights.npz import read_arrays

LEAST = -0.375  # minimum of hard-swish, the last activation of the towers
PRIOR = 0.01  # initial probability of classes that COCO does not have


def start_classes(network: OneStageNetwork, file: Path) -> str:
    """Initialize the class heads of `network` in place.

    Args:
        network: detector with the backbone of the file; its merge must keep F(m) first and unchanged.
        file: weights with `classifier_M/kernel` `[C, 80]` and `classifier_M/bias` `[80]` for every level M.

    Returns:
        A message that lists the classes that were not initialized and the number of those that were.

    Raises:
        UserError: the file contains no classifier, no class is a COCO class, or the network does not fit.
    """
    if network.config.merge not in ("mad", "spatial_mad", "conv") or network.config.merge_normalisation:
        raise UserError(
            "detector.start_classes needs the zoom-out map unchanged in front of the head: model.merge must be mad, "
            "spatial_mad or conv, without model.merge_normalisation"
        )
    numbers = [coco_number(name) for name in network.class_names]
    known = [name for name, number in zip(network.class_names, numbers, strict=True) if number is not None]
    if not known:
        raise UserError(f"detector.start_classes: COCO has none of the classes {', '.join(network.class_names[:5])}")
    arrays = read_arrays(file)
    for level in network.levels:
        kernel, bias = (arrays.get(f"classifier_{level}/{part}") for part in ("kernel", "bias"))
        if kernel is None or bias is None:
            raise UserError(
                f"{file}: no classifier of level {level} in it, which detector.start_classes needs; make the file with "
                "zip-keras convert_weights picodet_s_416_coco.onnx FILE.npz --backbone picodet_s"
            )
        _start(network.get_layer(f"class_head_{level}"), kernel, bias, numbers)
    missing = [name for name in network.class_names if name not in known]
    return f"{file}: class scores start from COCO for {len(known)} classes" + (
        f", not for {', '.join(missing)}" if missing else ""
    )


def _start(head: RPNHead, kernel: np.ndarray, bias: np.ndarray, numbers: list[int | None]) -> None:
    channels = kernel.shape[0]
    hidden = ops.convert_to_numpy(head.convolution.kernel).copy()
    if min(hidden.shape[2:]) < channels:
        raise UserError(
            f"detector.start_classes: the classifier reads {channels} channels; the head has {hidden.shape[2]} and a "
            f"hidden map of {hidden.shape[3]}; set model.head_channels to {channels} or more"
        )
    hidden[..., :channels] = 0.0
    hidden[1, 1, range(channels), range(channels)] = 1.0
    lift = ops.convert_to_numpy(head.convolution.bias).copy()
    lift[:channels] = -LEAST
    head.convolution.kernel.assign(hidden)
    head.convolution.bias.assign(lift)

    scores = np.zeros((hidden.shape[3], head.num_anchors, len(numbers) + 1), np.float32)
    start = np.zeros((head.num_anchors, len(numbers) + 1), np.float32)
    start[:, 1:] = math.log(PRIOR / (1 - PRIOR))
    for place, number in enumerate(numbers, 1):
        if number is not None:
            scores[:channels, :, place] = kernel[:, number, None]
            start[:, place] = bias[number] + LEAST * kernel[:, number].sum()
    head.score.kernel.assign(scores.reshape(head.score.kernel.shape))
    head.score.bias.assign(start.reshape(-1))
