import dataclasses

import numpy as np
import pytest

from tests.tiny_backbone import TINY_MAD_MODEL
from zip_keras.config import AnchorConfig, TargetConfig
from zip_keras.models.proposal_network import ProposalNetwork


@pytest.fixture(scope="session")
def narrow() -> ProposalNetwork:
    """A ZIP + MAD network of few layers with the paper's anchors; tests leave its weights as they are."""
    config = dataclasses.replace(TINY_MAD_MODEL, anchors=AnchorConfig())
    return ProposalNetwork(config, TargetConfig(per_class=30))


@pytest.fixture
def batch():
    """Makes images of noise with a few objects each, padded to `capacity` boxes."""

    def make(rng, images=3, size=(70, 90), capacity=8, objects=(3, 1, 0)):
        height, width = size
        y = {
            "boxes": np.zeros((images, capacity, 4), "float32"),
            "classes": np.full((images, capacity), -1, "int32"),
            "difficult": np.zeros((images, capacity), bool),
            "crowd": np.zeros((images, capacity), bool),
            "size": np.tile(np.array(size, "float32"), (images, 1)),
            "seed": rng.integers(0, 2**31 - 1, images).astype("int32"),
            "index": np.arange(images, dtype="int32"),
        }
        for i in range(images):
            count = objects[i % len(objects)]
            corner = rng.uniform(0, (height / 2, width / 2), (count, 2))
            sides = rng.uniform(10, (height / 2, width / 2), (count, 2))
            y["boxes"][i, :count] = np.concatenate([corner, corner + sides], axis=1)
            y["classes"][i, :count] = 0
        return rng.uniform(0, 255, (images, height, width, 3)).astype("float32"), y

    return make
