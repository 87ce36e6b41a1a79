"""Zoom-out networks: an image becomes three maps at strides 8, 16 and 32.

A trunk is an entry of `TRUNKS`: how it normalises pixels, and a function that builds its functional graph.
"""

from zip_keras.errors import UserError
from zip_keras.trunks.applications import PREFIX, application_trunk
from zip_keras.trunks.base import Preprocessing, Trunk, TrunkMaps
from zip_keras.trunks.efficientnet_lite import EFFICIENTNET_LITE0
from zip_keras.trunks.inception_bn import INCEPTION_BN

TRUNKS: dict[str, Trunk] = {"efficientnet_lite0": EFFICIENTNET_LITE0, "inception_bn": INCEPTION_BN}


def trunk_named(name: str) -> Trunk:
    """The trunk of that name, or of a network of keras.applications: see `zip_keras.trunks.applications`.

    Raises:
        UserError: there is no such trunk; the message has the names there are.
    """
    if name.startswith(PREFIX):
        return application_trunk(name)
    if name not in TRUNKS:
        raise UserError(
            f"unknown trunk {name!r}; there are {', '.join(sorted(TRUNKS))}, and {PREFIX}NETWORK:LAYER,LAYER,LAYER for "
            "a network of keras.applications"
        )
    return TRUNKS[name]


__all__ = ["TRUNKS", "Preprocessing", "Trunk", "TrunkMaps", "trunk_named"]
