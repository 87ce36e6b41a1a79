import numpy as np
import tensorflow as tf

from zip_keras.config import ModelConfig, TargetConfig
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.training.trainer import _without_empty_places


def targets(counts, capacity):
    """Images of as many boxes as `counts` says, padded to `capacity`."""
    rng = np.random.default_rng(0)
    images = len(counts)
    y = {
        "boxes": np.zeros((images, capacity, 4), "float32"),
        "classes": np.full((images, capacity), -1, "int32"),
        "difficult": np.zeros((images, capacity), bool),
        "crowd": np.zeros((images, capacity), bool),
        "size": np.full((images, 2), 64, "float32"),
        "seed": np.arange(images, dtype="int32"),
    }
    for i, count in enumerate(counts):
        corners = rng.uniform(0, 30, (count, 2))
        y["boxes"][i, :count] = np.concatenate([corners, corners + rng.uniform(10, 30, (count, 2))], axis=1)
        y["classes"][i, :count] = 3
    return {name: tf.constant(value) for name, value in y.items()}


def test_empty_places_are_cut_off_and_change_no_loss():
    network = ProposalNetwork(ModelConfig(width=0.0625, head_channels=8), TargetConfig(per_class=20))
    images = np.random.default_rng(1).uniform(0, 255, (3, 64, 64, 3)).astype("float32")
    full = targets((2, 0, 3), 40)
    short = _without_empty_places(full)
    assert [short[name].shape[1] for name in ("boxes", "classes", "difficult", "crowd")] == [3] * 4
    assert (short["size"].shape, short["seed"].shape) == ((3, 2), (3,))
    outputs = network(images)
    for name, value in network.image_losses(images, full, outputs).items():
        np.testing.assert_allclose(value, network.image_losses(images, short, outputs)[name], rtol=1e-5, err_msg=name)


def test_a_batch_without_objects_keeps_one_place():
    assert _without_empty_places(targets((0, 0), 5))["boxes"].shape == (2, 1, 4)
