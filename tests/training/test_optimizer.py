import keras
import numpy as np
import pytest

from zip_keras.config import TrainConfig
from zip_keras.training.optimizer import DecayedSGD, RatedAdamW, build_optimizer


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


def test_adamw_steps_by_its_rates_and_decays_kernels_alone():
    """The first step of Adam is the learning rate times the gradient's sign; before it the decay shrinks kernels."""
    backbone = keras.layers.Dense(2, name="backbone_block0")
    head = keras.layers.Dense(2, name="head_1")
    for layer in (backbone, head):
        layer.build((1, 2))
    variables = [backbone.kernel, backbone.bias, head.kernel, head.bias]
    before = [np.array(variable) for variable in variables]
    optimizer = RatedAdamW(
        0.1, weight_decay=0.5, backbone_rate=0.25, backbone_paths=[backbone.kernel.path, backbone.bias.path]
    )
    optimizer.build(variables)
    optimizer.apply_gradients([(np.ones(variable.shape, "float32"), variable) for variable in variables])
    for variable, old, rate in zip(variables, before, (0.25, 0.25, 1.0, 1.0), strict=True):
        decayed = old * (1 - 0.1 * 0.5) if old.ndim > 1 else old
        np.testing.assert_allclose(variable, decayed - rate * 0.1, rtol=1e-4, atol=1e-6)
    again = RatedAdamW.from_config(optimizer.get_config())
    assert (again.backbone_rate, again.backbone_paths) == (0.25, {backbone.kernel.path, backbone.bias.path})


def test_the_config_names_the_optimizer():
    sgd, adamw = (build_optimizer(TrainConfig(optimizer=name, weight_decay=0.01), ()) for name in ("sgd", "adamw"))
    assert isinstance(sgd, DecayedSGD)
    assert isinstance(adamw, RatedAdamW)
    assert adamw.weight_decay == 0.01
