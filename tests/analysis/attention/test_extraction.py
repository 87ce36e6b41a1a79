"""The sub-network of map attention gives the network's own maps and the mu that its weights say."""

import keras
import numpy as np
import pytest

import zip_keras
from zip_keras.analysis.attention.extraction import attention_network, compile_attention
from zip_keras.errors import UserError

OPTIONS = {"width": 0.125, "head_channels": 16, "zoom_in": "released"}


@pytest.fixture(scope="module")
def proposer():
    """Takes images of 64 x 96 as they are; mu is set by `say`."""
    keras.utils.set_random_seed(0)
    network = zip_keras.ProposalNetwork(zip_keras.ModelConfig(**OPTIONS))
    return zip_keras.Proposer(network, zip_keras.PostprocessConfig(max_proposals=10), short_sides=None)


@pytest.fixture(scope="module")
def attend(proposer):
    return compile_attention(proposer)


def say(proposer, level, mu):
    """Sets a level's decision to fixed numbers: no weight of F3, the bias alone."""
    decision = proposer.network.get_layer(f"merge_{level}_decision").decision
    decision.kernel.assign(np.zeros(decision.kernel.shape))
    decision.bias.assign(mu)


def image(height=64, width=96, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_mu_is_what_the_weights_say_and_orders_the_maps(proposer, attend):
    """48 maps of F and 48 of H at level 1: the greatest of F is map 3, of H map 50; the smallest 0 and 95."""
    mu = np.linspace(0.9, 1.1, 96)
    mu[[3, 50]], mu[[0, 95]] = (5.0, 4.0), (-2.0, 0.5)
    say(proposer, 1, mu)
    level = attend(image())[1]
    np.testing.assert_allclose(level.mu, mu, rtol=1e-6)
    assert (level.ranked("F")[0], level.ranked("F")[-1]) == (3, 0)
    assert (level.ranked("H")[0], level.ranked("H")[-1]) == (50, 95)
    np.testing.assert_allclose(level.after[..., 3], 5.0 * level.before[..., 3], rtol=1e-6)
    np.testing.assert_allclose(level.after[..., 0], -2.0 * level.before[..., 0], rtol=1e-6)
    assert level.before[..., 3].max() > 0  # the network's maps are not empty


def test_maps_have_the_size_of_the_image_without_padding(attend):
    """70 x 90 pixels, padded to 96 x 96, are 12 x 12 cells at stride 8; the image reaches into 9 x 12 of them."""
    levels = attend(image(70, 90))
    assert {level: a.before.shape for level, a in levels.items()} == {1: (9, 12, 96), 2: (5, 6, 160)}
    assert all(a.after.shape == a.before.shape and a.mu.shape == a.before.shape[2:] for a in levels.values())


def test_before_is_f_then_h_and_after_is_what_the_heads_see(proposer, attend):
    """The blocks' own outputs, found by other layers than those that the extraction names."""
    network = proposer.network
    blocks = [network.get_layer(name).output for name in ("backbone_3b", "backbone_4d", "zoom_in_3c", "zoom_in_4e")]
    seen = [network.get_layer(f"head_{level}").input for level in (1, 2)]
    pixels = image(seed=1)
    f1, f2, h1, h2, y1, y2 = (
        keras.ops.convert_to_numpy(x)[0] for x in keras.Model(network.inputs[0], [*blocks, *seen])(pixels[None])
    )
    levels = attend(pixels)
    for level, f, h, y in ((1, f1, h1, y1), (2, f2, h2, y2)):
        np.testing.assert_allclose(levels[level].before, np.concatenate([f, h], axis=-1), atol=1e-5)
        np.testing.assert_allclose(levels[level].after, y, atol=1e-5)


def test_the_image_is_looked_at_in_the_proposers_size(proposer):
    half = zip_keras.Proposer(proposer.network, proposer.postprocess_config, short_sides=32, long_side=96)
    assert compile_attention(half)(image())[1].before.shape == (4, 6, 96)


def test_half_precision_comes_out_as_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = zip_keras.ProposalNetwork(zip_keras.ModelConfig(**OPTIONS))
    finally:
        keras.config.set_dtype_policy(policy)
    level = compile_attention(zip_keras.Proposer(network, short_sides=None))(image())[2]
    assert {level.before.dtype, level.mu.dtype, level.after.dtype} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": "conv"}, r"a\.keras: has no map attention.*model\.merge=conv; choose"),
        ({"merge": "se"}, r"model\.merge=se"),
        ({"merge": "add"}, r"model\.merge=add"),
        ({"merge": "spatial_mad"}, "spatial_mad decides for every place"),
        ({"zoom_in": "none"}, r"no zoom-in stream \(model\.zoom_in=none\)"),
    ],
)
def test_networks_without_it_are_refused(options, message):
    network = zip_keras.ProposalNetwork(zip_keras.ModelConfig(**{**OPTIONS, **options}))
    with pytest.raises(UserError, match=message):
        attention_network(network, "a.keras")
