"""Zoom-out backbones: from an image to three maps at strides 8, 16 and 32.

An entry of `BACKBONES` holds the normalisation of pixels and a function that builds the functional graph.
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
    """Return a backbone by name, or one made of a keras.applications network: see `zip_keras.backbones.applications`.

    Raises:
        UserError: the backbone does not exist; the message lists those that do.
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
