"""A backbone of five convolutions, registered as `tiny`, for networks that a test can afford."""

import dataclasses

from zip_keras.backbones import BACKBONES, Backbone, BackboneMaps
from zip_keras.backbones.inception_bn import ROWS
from zip_keras.config import AnchorConfig, ModelConfig
from zip_keras.layers.convolution import ConvNorm


def build(image, config):
    """Three maps at strides 8, 16, 32 from five convolutions."""
    layers, maps, x = {}, [], image
    for number, width in enumerate((8, 8, 16, 24, 32), start=1):
        name = f"c{number}"
        layers[name] = ConvNorm(width, 3, 2, batch_norm=config.batch_norm, name=f"backbone_{name}")
        x = layers[name](x)
        if number > 2:
            maps.append(x)
    return BackboneMaps(tuple(maps), layers)


BACKBONES["tiny"] = Backbone((128.0,) * 3, (64.0,) * 3, False, build, ROWS, mirror_weights=False)

TINY_MODEL = ModelConfig(
    backbone="tiny",
    width=0.125,
    zoom_in="none",  # tracing a zoom-in stream takes more time than everything else
    head_channels=16,
    anchors=AnchorConfig(scales=((8.0, 12.0), (24.0, 32.0), (48.0, 64.0))),
)

# The same with a zoom-in stream and MAD.
TINY_MAD_MODEL = dataclasses.replace(TINY_MODEL, zoom_in="released")
