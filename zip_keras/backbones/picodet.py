"""PicoDet-S without its last layer: ESNet-S, neck and towers, 0.9 M weights, trained for detection on COCO.

Yu et al., *PP-PicoDet*, arXiv 2111.00902, and the public `picodet_s_416_coco.onnx` of PaddleDetection (Apache-2.0),
which `zip-keras convert_weights` reads. The neck (CSP-PAN) goes from stride 32 to 8 and back; a tower of two separable
convolutions follows at each stride. The maps are the outputs of the towers, 96 channels each, from which PicoDet
predicts classes and boxes with one 1x1 convolution. Its fourth level (stride 64) is left out.

As in `zip_keras.backbones.esnet`, batch normalisation is folded into the weights.
"""

import keras

from zip_keras.backbones import esnet
from zip_keras.backbones.base import Backbone, BackboneMaps
from zip_keras.config import ModelConfig
from zip_keras.layers.shuffle import BiasedConvolution, CrossStageBlock, NearestUpsampling

FILTERS = 96


def build(image, config: ModelConfig) -> BackboneMaps:
    """Build ESNet-S, then "reduce_m", "up_m", "down_m_*", "out_m" and "tower_m_*"; see `Backbone.build`.

    `config.width` applies only to the zoom-in stream: the backbone keeps the widths of its public weights.
    """
    backbone = esnet.build(image, config)
    layers = dict(backbone.layers)

    def add(name: str, kind, *args):
        layers[name] = kind(*args, name=f"backbone_{name}")
        return layers[name]

    def join(name: str, *maps):
        return add(name, CrossStageBlock, FILTERS)(keras.layers.Concatenate(name=f"backbone_{name}_join")(maps))

    def separable(x, name: str, stride: int = 1):
        x = add(f"{name}_depthwise", BiasedConvolution, 0, 5, stride)(x)
        return add(f"{name}_project", BiasedConvolution, FILTERS)(x)

    f1, f2, f3 = (add(f"reduce_{level}", BiasedConvolution, FILTERS)(x) for level, x in enumerate(backbone.maps, 1))
    top2 = join("up_2", NearestUpsampling(name="backbone_up_2_double_size")(f3), f2)
    out1 = join("up_1", NearestUpsampling(name="backbone_up_1_double_size")(top2), f1)
    out2 = join("out_2", separable(out1, "down_2", 2), top2)
    out3 = join("out_3", separable(out2, "down_3", 2), f3)
    neck = (out1, out2, out3)
    maps = tuple(
        separable(separable(x, f"tower_{level}_first"), f"tower_{level}_second") for level, x in enumerate(neck, 1)
    )
    return BackboneMaps(maps, layers, neck[:2])


PICODET_S = Backbone(
    mean=esnet.ESNET_S.mean,
    scale=esnet.ESNET_S.scale,
    bgr=False,
    build=build,
    mirror=esnet.ESNET_S.mirror,
    mirror_weights=False,
)
