"""Zoom-out networks: an image becomes three maps at strides 8, 16 and 32.

A trunk is an entry of `TRUNKS`: how it normalises pixels, and a function that builds its functional graph.
"""

from zip_keras.trunks.base import Preprocessing, Trunk, TrunkMaps
from zip_keras.trunks.inception_bn import INCEPTION_BN

TRUNKS: dict[str, Trunk] = {"inception_bn": INCEPTION_BN}


def trunk_named(name: str) -> Trunk:
    """The trunk of that name; `ValueError` with the names there are."""
    if name not in TRUNKS:
        raise ValueError(f"unknown trunk {name!r}; there are {', '.join(sorted(TRUNKS))}")
    return TRUNKS[name]


__all__ = ["TRUNKS", "Preprocessing", "Trunk", "TrunkMaps", "trunk_named"]
