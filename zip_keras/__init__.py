"""zip-keras: object proposals and detection with Zoom Out-and-In networks and Map Attention Decision.

import keras
import zip_keras  # registers the project's classes, so that keras.models.load_model finds them

[found] = zip_keras.propose(zip_keras.DEFAULT_PRESET, "photo.jpg", max_proposals=100)
found.boxes, found.scores, found.levels  # [n, 4] y1, x1, y2, x2 in pixels; [n]; [n]
zip_keras.draw("photo.jpg", found, "boxes.jpg")

[found] = zip_keras.detect("runs/mine", "photo.jpg")  # a detector of your own
found.boxes, found.scores, found.classes, found.names

proposer = zip_keras.from_preset(zip_keras.DEFAULT_PRESET)  # a Keras model; or keras.models.load_model("best.keras")
result = proposer(images)  # uint8 [B, H, W, 3] -> {"boxes" [B, n, 4], "scores" [B, n], "valid" [B, n], "levels" [B, n]}
"""

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from zip_keras.errors import UserError

if TYPE_CHECKING:
    from zip_keras.config import (
        AnchorConfig,
        DetectorConfig,
        LossConfig,
        ModelConfig,
        PostprocessConfig,
        TargetConfig,
    )
    from zip_keras.inference.boxes import Boxes, Detections
    from zip_keras.inference.detect import detect
    from zip_keras.inference.draw import draw
    from zip_keras.inference.loading import load_proposer
    from zip_keras.inference.options import InferenceOptions
    from zip_keras.inference.propose import propose
    from zip_keras.models.detector import Detector
    from zip_keras.models.one_stage import OneStageNetwork
    from zip_keras.models.proposal_network import ProposalNetwork
    from zip_keras.models.proposer import Proposer
    from zip_keras.models.two_stage import TwoStageNetwork
    from zip_keras.presets import DEFAULT_PRESET, from_preset, list_presets

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_PRESET",
    "AnchorConfig",
    "Boxes",
    "Detections",
    "Detector",
    "DetectorConfig",
    "InferenceOptions",
    "LossConfig",
    "ModelConfig",
    "OneStageNetwork",
    "PostprocessConfig",
    "ProposalNetwork",
    "Proposer",
    "TargetConfig",
    "TwoStageNetwork",
    "UserError",
    "detect",
    "draw",
    "from_preset",
    "list_presets",
    "load_proposer",
    "propose",
]

_HOMES = {
    "zip_keras.config": (
        "AnchorConfig",
        "DetectorConfig",
        "LossConfig",
        "ModelConfig",
        "PostprocessConfig",
        "TargetConfig",
    ),
    "zip_keras.models.detector": ("Detector",),
    "zip_keras.models.one_stage": ("OneStageNetwork",),
    "zip_keras.models.two_stage": ("TwoStageNetwork",),
    "zip_keras.models.proposal_network": ("ProposalNetwork",),
    "zip_keras.models.proposer": ("Proposer",),
    "zip_keras.inference.boxes": ("Boxes", "Detections"),
    "zip_keras.inference.detect": ("detect",),
    "zip_keras.inference.draw": ("draw",),
    "zip_keras.inference.loading": ("load_proposer",),
    "zip_keras.inference.options": ("InferenceOptions",),
    "zip_keras.inference.propose": ("propose",),
    "zip_keras.presets": ("DEFAULT_PRESET", "from_preset", "list_presets"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first access."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'zip_keras' has no attribute {name!r}")


# Importing the models registers their classes with Keras. The command line sets ZIP_KERAS_LAZY=1 before it imports the
# package, for itself and its worker processes, because most commands do not need TensorFlow and start faster without.
# `python -m zip_keras` imports the package before `__main__.py` can set it; sys.argv[0] is "-m" during that import.
# If Keras is not installed, for example where only `zip_keras.client` is used, there is nothing to register.
if os.environ.get("ZIP_KERAS_LAZY") != "1" and sys.argv[:1] != ["-m"] and importlib.util.find_spec("keras") is not None:
    importlib.import_module("zip_keras.models.proposer")
    importlib.import_module("zip_keras.models.detector")
