"""ESNet-S, the backbone of PicoDet-S: 0.6 M weights, trained on COCO.

Yu et al., *PP-PicoDet*, arXiv 2111.00902, and the public `picodet_s_416_coco.onnx` of PaddleDetection (Apache-2.0),
which `zip-keras convert_weights` reads. The widths of the blocks come from the authors' architecture search.

The maps are the outputs of the three stages, before the first 1x1 convolutions of PicoDet's neck. Batch normalisation
is folded into the weights (see `zip_keras.layers.shuffle`), so `ModelConfig.batch_norm` applies only to the zoom-in
stream.
"""

from typing import NamedTuple

import keras

from zip_keras.backbones.base import Backbone, BackboneMaps
from zip_keras.backbones.inception_bn import ROWS as INCEPTION_ROWS
from zip_keras.config import ModelConfig
from zip_keras.layers.shuffle import BiasedConvolution, MaxPooling, ShuffleBlock, ShuffleReduction


class Stage(NamedTuple):
    """A reduction block and the blocks of the same stride after it.

    Attributes:
        filters: channels of the stage.
        reduction: hidden channels of the reduction.
        blocks: hidden channels of each block after it.
    """

    filters: int
    reduction: int
    blocks: tuple[int, ...]


STEM_FILTERS = 24
STAGES = (
    Stage(96, 44, (24, 24)),  # stride 8: F1
    Stage(192, 48, (60, 48, 60, 48, 48, 48)),  # stride 16: F2
    Stage(384, 96, (96, 96)),  # stride 32: F3
)


def build(image, config: ModelConfig) -> BackboneMaps:
    """Build the stem and thirteen blocks, "block0" to "block12"; see `Backbone.build`.

    `config.width` applies only to the zoom-in stream: the backbone keeps the widths of its public weights.
    """
    layers: dict[str, keras.layers.Layer] = {"stem": BiasedConvolution(STEM_FILTERS, 3, 2, name="backbone_stem")}
    x = MaxPooling(name="backbone_pool")(layers["stem"](image))
    maps, neighbours = [], []
    for stage in STAGES:
        for kind, hidden in [(ShuffleReduction, stage.reduction), *((ShuffleBlock, h) for h in stage.blocks)]:
            name = f"block{len(layers) - 1}"
            layers[name] = kind(stage.filters, hidden, name=f"backbone_{name}")
            entered, x = x, layers[name](x)
        maps.append(x)
        neighbours.append(entered)
    return BackboneMaps(tuple(maps), layers, tuple(neighbours[:2]))


ESNET_S = Backbone(
    mean=(123.675, 116.28, 103.53),
    scale=(58.395, 57.12, 57.375),
    bgr=False,
    build=build,
    mirror=INCEPTION_ROWS,
    mirror_weights=False,
)
