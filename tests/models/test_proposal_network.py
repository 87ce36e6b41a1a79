import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import LossConfig, ModelConfig, TargetConfig
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.pixels import PADDING

TERMS = [f"{kind}_{level}" for kind in ("classification", "box", "positives") for level in (1, 2, 3)]


def array(x):
    return ops.convert_to_numpy(x)


def losses_of(network, images, y, outputs=None):
    outputs = network(images) if outputs is None else outputs
    return {name: array(x) for name, x in network.image_losses(images, y, outputs).items()}


def rows(tree, chosen):
    return keras.tree.map_structure(lambda x: x[chosen], tree)


def assert_same(one, other, rtol=1e-5):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=rtol, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("size", [(64, 96), (33, 70), (20, 9), (1, 1)])
def test_every_anchor_gets_scores_and_deltas(narrow, size):
    outputs = narrow(np.zeros((2, *size, 3), "float32"))
    anchors = narrow.anchors(*size)
    assert [x.shape for x in outputs["logits"]] == [(2, len(a), 3) for a in anchors]
    assert [x.shape for x in outputs["deltas"]] == [(2, len(a), 4) for a in anchors]
    padded = (-(-size[0] // 32) * 32) * (-(-size[1] // 32) * 32)
    assert [len(a) for a in anchors] == [10 * padded // stride**2 for stride in (8, 16, 32)]


def test_padding_to_whole_cells_changes_nothing(narrow):
    """The network pads to a multiple of 32 itself: padding by the loader is the same thing."""
    rng = np.random.default_rng(1)
    small = rng.uniform(0, 255, (1, 40, 50, 3)).astype("float32")
    padded = np.full((1, 64, 64, 3), PADDING, "float32")
    padded[:, :40, :50] = small
    for one, other in zip(keras.tree.flatten(narrow(small)), keras.tree.flatten(narrow(padded)), strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{"num_classes": 2}, {"merge": "add"}, {"zoom_in": "none"}], ids=str)
def test_other_structures_give_the_same_shapes(changes):
    network = ProposalNetwork(ModelConfig(width=0.0625, head_channels=8, **changes))
    outputs = network(np.zeros((1, 32, 32, 3), "float32"))
    classes = changes.get("num_classes", 3)
    assert [x.shape for x in outputs["logits"]] == [(1, n, classes) for n in (160, 40, 10)]


# --- losses


def test_losses_of_a_batch_are_those_of_its_images(narrow, batch):
    images, y = batch(np.random.default_rng(2))
    outputs = narrow(images)
    whole = losses_of(narrow, images, y, outputs)
    assert set(whole) == {"loss", *TERMS}
    assert {x.shape for x in whole.values()} == {(3,)}
    for chosen in (slice(0, 1), slice(1, 3)):
        part = losses_of(narrow, images[chosen], rows(y, chosen), rows(outputs, chosen))
        assert_same(part, rows(whole, chosen))
    loss = narrow.compute_loss(images, y, outputs)
    np.testing.assert_allclose(array(loss), whole["loss"].mean(), rtol=1e-6)
    np.testing.assert_allclose(whole["loss"], sum(whole[name] for name in TERMS[:6]), rtol=1e-5)


def test_more_empty_boxes_and_another_order_change_nothing(narrow, batch):
    images, y = batch(np.random.default_rng(3))
    outputs = narrow(images)
    expected = losses_of(narrow, images, y, outputs)
    longer = {**y}
    for name, fill in (("boxes", 0), ("classes", -1), ("difficult", 0), ("crowd", 0)):
        after = [(0, 0), (0, 5)] + [(0, 0)] * (y[name].ndim - 2)
        longer[name] = np.pad(y[name], after, constant_values=fill)
    assert_same(losses_of(narrow, images, longer, outputs), expected)
    backwards = {**y, **{name: y[name][:, ::-1] for name in ("boxes", "classes", "difficult", "crowd")}}
    assert_same(losses_of(narrow, images, backwards, outputs), expected)


def test_positives_are_counted_by_hand(narrow, batch):
    images, y = batch(np.random.default_rng(4), images=1, size=(64, 64), objects=(0,))
    # the 16 x 16 anchor of level 1 at row 2, column 3; IoU with its 16 x 32 cousin of area 16 is below .6
    y["boxes"][0, 0], y["classes"][0, 0] = [20 - 8, 28 - 8, 20 + 8, 28 + 8], 0
    losses = losses_of(narrow, images, y)
    assert [losses[f"positives_{level}"][0] for level in (1, 2, 3)] == [1, 0, 0]
    # the 64 x 64 anchor of level 2 at row 1, column 1 (centre 24, 24): neighbours 16 off have IoU 48/80 = .6: 4 of them
    y["boxes"][0, 0] = [24 - 32, 24 - 32, 24 + 32, 24 + 32]
    losses = losses_of(narrow, images, y)
    assert [losses[f"positives_{level}"][0] for level in (1, 2, 3)] == [0, 5, 0]


def test_an_image_without_objects_counts_and_stays_finite(narrow, batch):
    images, y = batch(np.random.default_rng(5), objects=(0,))
    losses = losses_of(narrow, images, y)
    assert (losses["loss"] > 0).all()
    assert np.isfinite(losses["loss"]).all()
    assert sum(losses[name].sum() for name in TERMS[3:]) == 0  # no boxes, no positives


def test_images_smaller_than_a_cell_learn(narrow, batch):
    images, y = batch(np.random.default_rng(6), size=(25, 30))
    assert np.isfinite(losses_of(narrow, images, y)["loss"]).all()


def test_the_seed_draws_other_anchors(narrow, batch):
    images, y = batch(np.random.default_rng(7), objects=(1,))
    outputs = narrow(images)
    rng = np.random.default_rng(8)  # scores that differ from anchor to anchor
    outputs["logits"] = tuple(rng.normal(size=x.shape).astype("float32") for x in outputs["logits"])
    one = losses_of(narrow, images, y, outputs)
    other = losses_of(narrow, images, {**y, "seed": y["seed"] + 17}, outputs)
    for level in (1, 2):
        assert (one[f"classification_{level}"] != other[f"classification_{level}"]).all()
    np.testing.assert_array_equal(one["positives_1"], other["positives_1"])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow")
def test_gradients_reach_every_variable_and_are_finite(batch):
    import tensorflow as tf

    network = ProposalNetwork(ModelConfig(width=0.0625, head_channels=8))
    images, y = batch(np.random.default_rng(9), size=(96, 128))
    # objects of every level, so that every head has boxes to learn
    y["boxes"][0, :3] = [[10, 10, 26, 26], [20, 20, 84, 84], [-64, -48, 160, 176]]

    with tf.GradientTape() as tape:
        loss = network.compute_loss(images, y, network(images, training=True))
    gradients = tape.gradient(loss, network.trainable_variables)
    for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient.numpy()).all(), variable.path
        assert np.abs(gradient.numpy()).max() > 0, variable.path


def test_compute_type_does_not_reach_the_outputs(batch):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = ProposalNetwork(ModelConfig(width=0.0625, head_channels=8, zoom_in="none"))
    finally:
        keras.config.set_dtype_policy(before)
    images, y = batch(np.random.default_rng(10))
    outputs = network(images)
    assert {x.dtype for x in map(array, keras.tree.flatten(outputs))} == {np.dtype("float32")}
    assert {x.dtype for x in losses_of(network, images, y, outputs).values()} == {np.dtype("float32")}
    assert network.get_layer("backbone_3a").compute_dtype == "bfloat16"


# --- files


def test_a_keras_file_gives_the_same_network(tmp_path, batch):
    targets, loss = TargetConfig(per_class=30, quota=5), LossConfig(box="l2")
    network = ProposalNetwork(ModelConfig(width=0.0625, head_channels=8, zoom_in="none"), targets, loss)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert (loaded.config, loaded.target_config, loaded.loss_config) == (network.config, targets, loss)
    images, y = batch(np.random.default_rng(11))
    for one, other in zip(keras.tree.flatten(loaded(images)), keras.tree.flatten(network(images)), strict=True):
        np.testing.assert_array_equal(array(one), array(other))
    assert_same(losses_of(loaded, images, y), losses_of(network, images, y))
    assert [v.path for v in loaded.variables] == [v.path for v in network.variables]


def test_every_variable_has_a_path_of_its_own():
    paths = [v.path for v in ProposalNetwork(ModelConfig(width=0.0625, head_channels=8)).variables]
    assert len(set(paths)) == len(paths)
    assert "backbone_3a/three/convolution/kernel" in paths
    assert "head_2/deltas/bias" in paths
