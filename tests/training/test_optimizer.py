import keras
import numpy as np
import pytest

from zip_keras.training.optimizer import DecayedSGD


@pytest.mark.parametrize("trunk_rate", [1.0, 0.25])
def test_the_trunk_has_its_own_rate(trunk_rate):
    """Two steps by hand: velocity .9 v - rate * gradient, gradient 1."""
    trunk = keras.layers.Dense(2, use_bias=False, name="trunk_block0")
    head = keras.layers.Dense(2, use_bias=False, name="head_1")
    for layer in (trunk, head):
        layer.build((1, 2))
    before = [np.array(layer.kernel) for layer in (trunk, head)]
    optimizer = DecayedSGD(0.1, momentum=0.9, trunk_rate=trunk_rate, trunk_paths=[trunk.kernel.path])
    optimizer.build([head.kernel, trunk.kernel])
    for _ in range(2):
        optimizer.apply_gradients([(np.ones((2, 2), "float32"), layer.kernel) for layer in (head, trunk)])
    for layer, old, rate in zip((trunk, head), before, (trunk_rate, 1.0), strict=True):
        np.testing.assert_allclose(layer.kernel, old - rate * 0.1 * (1 + 1.9), rtol=1e-5)
    again = DecayedSGD.from_config(optimizer.get_config())
    assert (again.trunk_rate, again.trunk_paths) == (trunk_rate, {trunk.kernel.path})
