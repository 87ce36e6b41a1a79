"""Blocks of a head against those of keras.applications."""

import keras
import numpy as np
import pytest
from keras.src.applications.resnet import residual_block_v1

from zip_keras.errors import UserError
from zip_keras.layers.roi_head import RoIHead
from zip_keras.weights.npz import save_weights
from zip_keras.weights.resnet import load_resnet_blocks


@pytest.fixture(scope="module")
def resnet():
    """One block of each kind with statistics of its own, and the output of both."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 4, 1024))
    fourth = residual_block_v1(x, 256, conv_shortcut=False, name="conv4_block16")
    model = keras.Model(x, [fourth, residual_block_v1(fourth, 512, stride=2, name="conv5_block1")])
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, x.shape) for x in layer.weights])
    return model


def head(**changes):
    made = RoIHead(2, (1,), (8,), **{"pool_size": 4, "width": 1024, "blocks": (1, 1), **changes})
    made.build([(None, None, None, 8)])
    return made


def test_blocks_answer_as_those_of_resnet(resnet, tmp_path):
    save_weights(resnet, tmp_path / "resnet.npz")
    ours = head()
    assert load_resnet_blocks(ours, tmp_path / "resnet.npz") == 3 + 4
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 1024)).astype("float32")
    fourth, fifth = resnet(x, training=False)
    found = ours.bottlenecks[0](x, training=False)
    np.testing.assert_allclose(found, fourth, atol=1e-4)
    np.testing.assert_allclose(ours.bottlenecks[1](found, training=False), fifth, atol=1e-3)


def test_what_does_not_fit_is_refused(tmp_path):
    file = tmp_path / "resnet.npz"
    np.savez(file, a=np.zeros(1))
    with pytest.raises(UserError, match="has no variable conv4_block16_1_conv/kernel"):
        load_resnet_blocks(head(), file)
    for changes in ({"width": 16}, {"normalise": "group"}, {"blocks": (0, 0)}):
        with pytest.raises(UserError, match=r"fit a head with detector\.head\.width=1024"):
            load_resnet_blocks(head(**changes), file)
