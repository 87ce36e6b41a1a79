"""Which weights a network starts from."""

import numpy as np
import pytest

from tests.training.tiny import tiny_config
from zip_keras import presets
from zip_keras.config import TrainConfig
from zip_keras.errors import UserError
from zip_keras.training.optimizer import build_optimizer
from zip_keras.training.start import build_network
from zip_keras.weights.npz import save_weights


@pytest.fixture
def narrow_config(tmp_path):
    def make(*overrides):
        narrow = ["model.backbone=inception_bn", "model.width=0.125", "model.zoom_in=released", *overrides]
        return tiny_config(tmp_path, *narrow)

    return make


def test_a_trained_zoom_in_stream_is_not_started_anew(narrow_config, tmp_path):
    """Mirror initialisation is for a file that holds a backbone alone."""
    trained, whole = build_network(narrow_config())
    assert not whole
    for variable in trained.variables:
        variable.assign(np.random.default_rng(len(variable.path)).uniform(0.5, 1.5, variable.shape))
    save_weights(trained, tmp_path / "whole.npz")
    said = []
    network, whole = build_network(narrow_config(f"train.weights={tmp_path / 'whole.npz'}"), said.append)
    assert whole
    for given, own in zip(network.variables, trained.variables, strict=True):
        np.testing.assert_array_equal(given, own)
    assert not any("mirror" in text for text in said)

    arrays = {path: values for path, values in np.load(tmp_path / "whole.npz").items() if path.startswith("backbone_")}
    np.savez(tmp_path / "backbone.npz", **arrays)
    _, whole = build_network(narrow_config(f"train.weights={tmp_path / 'backbone.npz'}"), said.append)
    assert not whole
    assert any("mirror initialisation" in text for text in said)


def test_frozen_statistics_of_a_random_backbone_are_refused(narrow_config, tmp_path):
    arrays = {v.path: np.array(v) for v in build_network(narrow_config())[0].variables if v.path.startswith("zoom_in_")}
    np.savez(tmp_path / "zoom.npz", **arrays)
    frozen = narrow_config(f"train.weights={tmp_path / 'zoom.npz'}", "model.batch_norm=frozen")
    with pytest.raises(UserError, match=r"zoom\.npz: \d+ variables of the backbone are not in it"):
        build_network(frozen, lambda text: None)
    build_network(frozen, lambda text: None, load=False)  # a checkpoint brings the weights


@pytest.mark.slow
def test_a_backbone_of_keras_is_known_by_its_layers(narrow_config, tmp_path):
    """Its variables have names of their own: the rate of the backbone and the refusal of a random one go by layer."""
    backbone = "model.backbone=keras:MobileNetV2:block_6_expand_relu,block_13_expand_relu,out_relu"
    network, _ = build_network(narrow_config(backbone))
    optimizer = build_optimizer(TrainConfig(backbone_rate=0.1), network.backbone_paths)
    optimizer.build(network.trainable_variables)
    rates = dict(zip((v.path for v in network.trainable_variables), optimizer._rates, strict=True))
    assert rates["block_13_expand/kernel"] == 0.1
    assert {rate for path, rate in rates.items() if path.startswith(("zoom_in_", "head_"))} == {1.0}

    np.savez(tmp_path / "rest.npz", **{v.path: np.array(v) for v in network.variables if v.path.startswith("head_")})
    frozen = narrow_config(backbone, f"train.weights={tmp_path / 'rest.npz'}", "model.batch_norm=frozen")
    with pytest.raises(UserError, match=r"rest\.npz: \d+ variables of the backbone are not in it \(Conv1/kernel"):
        build_network(frozen, lambda text: None)


def test_training_starts_from_a_preset_by_its_name(small_proposer, tmp_path, monkeypatch):
    presets.save_preset(small_proposer, tmp_path / "small", "random weights")
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    assert presets.weights_file("small") == str(tmp_path / "small" / presets.WEIGHTS_FILE)
    assert presets.weights_file("other.npz") == "other.npz"


def test_a_head_of_resnet_needs_two_stages_and_their_width(tmp_path):
    weights = f"train.head_weights={tmp_path / 'resnet.npz'}"
    with pytest.raises(UserError, match=r"train\.head_weights.* set detector\.kind=two_stage"):
        build_network(tiny_config(tmp_path, weights))
    narrow = ["detector.kind=two_stage", "detector.head.width=16", "detector.head.blocks=[1,1]"]
    with pytest.raises(UserError, match=r"resnet\.npz: blocks of ResNet-101 fit a head with"):
        build_network(tiny_config(tmp_path, weights, *narrow), class_names=("thing",))
