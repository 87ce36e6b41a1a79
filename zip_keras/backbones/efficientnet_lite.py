"""EfficientNet-Lite0: a backbone small enough for a CPU, with public ImageNet weights.

Tan and Le, *EfficientNet*, arXiv 1905.11946, in the Lite variant of its TensorFlow code (efficientnet_lite_builder.py):
no squeeze-and-excitation, ReLU6, pixels as (x - 127) / 128. There is no stochastic depth: it is rarely used when a
pretrained backbone is fine-tuned.

The maps are the outputs of the last block before each down-sampling (40 and 112 channels) and of the last block (320
channels), as in EfficientDet, without the 1280-channel convolution of the classifier. All three are linear projections
without activation.
"""

from typing import NamedTuple

import keras

from zip_keras.backbones.base import Backbone, BackboneMaps
from zip_keras.backbones.inception_bn import ROWS as INCEPTION_ROWS
from zip_keras.config import ModelConfig
from zip_keras.layers.inverted_bottleneck import InvertedBottleneck, MobileConvNorm


class Stage(NamedTuple):
    """Blocks of one width; the first one has the stride."""

    blocks: int
    kernel_size: int
    stride: int
    expansion: int
    filters: int


STEM_FILTERS = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),  # stride 8: F1
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),  # stride 16: F2
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),  # stride 32: F3
)
TAPS = (2, 4, 6)  # stages


def build(image, config: ModelConfig) -> BackboneMaps:
    """Build the stem and sixteen blocks, "block0" to "block15"; see `Backbone.build`.

    `config.width` applies only to the zoom-in stream: the backbone keeps the widths of its ImageNet weights.
    """
    layers: dict[str, keras.layers.Layer] = {
        "stem": MobileConvNorm(STEM_FILTERS, 3, 2, batch_norm=config.batch_norm, name="backbone_stem")
    }
    x = layers["stem"](image)
    maps, neighbours = [], []
    for index, stage in enumerate(STAGES):
        for repeat in range(stage.blocks):
            name = f"block{len(layers) - 1}"
            layers[name] = InvertedBottleneck(
                stage.filters,
                stage.kernel_size,
                stage.stride if repeat == 0 else 1,
                stage.expansion,
                batch_norm=config.batch_norm,
                name=f"backbone_{name}",
            )
            entered, x = x, layers[name](x)
        if index in TAPS:
            maps.append(x)
            neighbours.append(entered)
    return BackboneMaps(tuple(maps), layers, tuple(neighbours[:2]))


EFFICIENTNET_LITE0 = Backbone(
    mean=(127.0, 127.0, 127.0),
    scale=(128.0, 128.0, 128.0),
    bgr=False,
    build=build,
    mirror=INCEPTION_ROWS,
    mirror_weights=False,
)
