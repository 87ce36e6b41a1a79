"""Initialisation of a detector's head from ResNet-101, blocks res4b15-20 and res5a-c. Paper section 4.

`keras.applications.ResNet101` calls them conv4_block16 to conv4_block21 and conv5_block1 to conv5_block3.
"""

from pathlib import Path

import numpy as np

from zip_keras.errors import UserError
from zip_keras.layers.bottleneck import Bottleneck
from zip_keras.layers.roi_head import RoIHead
from zip_keras.weights.npz import read_arrays

WIDTH = 1024  # output channels of ResNet's fourth stage
MOST = (8, 3)  # blocks of the fourth stage from the sixteenth on, and blocks of the fifth stage


def load_resnet_blocks(head: RoIHead, file: str | Path) -> int:
    """Initialise the blocks of a head from ResNet-101. The other layers do not change.

    Args:
        head: a head of width 1024, with batch normalisation, at most 8 blocks of the first and 3 of the second kind.
        file: `.keras` of `keras.applications.ResNet101(...).save`, or `.npz` of arrays by path, such as
            `conv4_block16_1_conv/kernel`.

    Returns:
        the number of convolutions loaded, each with its batch normalisation.

    Raises:
        UserError: the head has other blocks, or a variable in the file is missing, has another shape or is not finite.
    """
    first, second = head.blocks
    if head.width != WIDTH or head.normalise == "group" or first > MOST[0] or second > MOST[1] or not first + second:
        raise UserError(
            f"{file}: blocks of ResNet-101 fit a head with detector.head.width=1024, detector.head.normalisation=batch "
            f"and detector.head.blocks of at most {list(MOST)}; this one has {head.width}, {head.normalise} and "
            f"{[first, second]}"
        )
    arrays = read_arrays(Path(file))
    names = [f"conv4_block{16 + i}" for i in range(first)] + [f"conv5_block{1 + i}" for i in range(second)]
    return sum(_fill(block, name, arrays, file) for block, name in zip(head.bottlenecks, names, strict=True))


def _fill(block: Bottleneck, name: str, arrays: dict[str, np.ndarray], file: str | Path) -> int:
    for branch, convolution in block.convolutions.items():
        for layer, kind in ((convolution, "conv"), (block.normalisations[branch], "bn")):
            for variable in layer.weights:
                path = f"{name}_{branch}_{kind}/{variable.name}"
                if path not in arrays:
                    raise UserError(f"{file}: has no variable {path}; it must hold keras.applications.ResNet101")
                if tuple(arrays[path].shape) != tuple(variable.shape) or not np.isfinite(arrays[path]).all():
                    raise UserError(
                        f"{file}: variable {path} must hold finite numbers of shape {tuple(variable.shape)}, not "
                        f"{tuple(arrays[path].shape)}; use another file"
                    )
                variable.assign(arrays[path].astype("float32"))
    return len(block.convolutions)
