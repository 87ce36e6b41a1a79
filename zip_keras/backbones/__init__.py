"""Zoom-out networks: an image becomes three maps at strides 8, 16 and 32.

A backbone is an entry of `BACKBONES`: how it normalises pixels, and a function that builds its functional graph.
"""

from zip_keras.backbones.applications import PREFIX, application_backbone
from zip_keras.backbones.base import Backbone, BackboneMaps, Preprocessing
from zip_keras.backbones.efficientnet_lite import EFFICIENTNET_LITE0
from zip_keras.backbones.esnet import ESNET_S
from zip_keras.backbones.inception_bn import INCEPTION_BN
from zip_keras.backbones.picodet import PICODET_S
from zip_keras.backbones.vgg16 import VGG16
from zip_keras.errors import UserError

BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": EFFICIENTNET_LITE0,
    "esnet_s": ESNET_S,
    "inception_bn": INCEPTION_BN,
    "picodet_s": PICODET_S,
    "vgg16": VGG16,
}


def get_backbone(name: str) -> Backbone:
    """The backbone of that name, or of a network of keras.applications: see `zip_keras.backbones.applications`.

    Raises:
        UserError: there is no such backbone; the message has the names there are.
    """
    if name.startswith(PREFIX):
        return application_backbone(name)
    if name not in BACKBONES:
        raise UserError(
            f"unknown backbone {name!r}; there are {', '.join(sorted(BACKBONES))}, and "
            f"{PREFIX}NETWORK:LAYER,LAYER,LAYER for a network of keras.applications"
        )
    return BACKBONES[name]


__all__ = ["BACKBONES", "Backbone", "BackboneMaps", "Preprocessing", "get_backbone"]
