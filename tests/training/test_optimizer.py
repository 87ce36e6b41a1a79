import keras
import numpy as np
import pytest

from zip_keras.training.optimizer import DecayedSGD


@pytest.mark.parametrize("backbone_rate", [1.0, 0.25])
def test_the_backbone_has_its_own_rate(backbone_rate):
    """Two steps by hand: velocity .9 v - rate * gradient, gradient 1."""
    backbone = keras.layers.Dense(2, use_bias=False, name="backbone_block0")
    head = keras.layers.Dense(2, use_bias=False, name="head_1")
    for layer in (backbone, head):
        layer.build((1, 2))
    before = [np.array(layer.kernel) for layer in (backbone, head)]
    optimizer = DecayedSGD(0.1, momentum=0.9, backbone_rate=backbone_rate, backbone_paths=[backbone.kernel.path])
    optimizer.build([head.kernel, backbone.kernel])
    for _ in range(2):
        optimizer.apply_gradients([(np.ones((2, 2), "float32"), layer.kernel) for layer in (head, backbone)])
    for layer, old, rate in zip((backbone, head), before, (backbone_rate, 1.0), strict=True):
        np.testing.assert_allclose(layer.kernel, old - rate * 0.1 * (1 + 1.9), rtol=1e-5)
    again = DecayedSGD.from_config(optimizer.get_config())
    assert (again.backbone_rate, again.backbone_paths) == (backbone_rate, {backbone.kernel.path})
