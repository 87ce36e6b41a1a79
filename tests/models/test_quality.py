"""Networks that predict the IoU of their boxes, and those that normalise F before the merge."""

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import LossConfig, ModelConfig, PostprocessConfig, TargetConfig
from zip_keras.errors import UserError
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.proposer import Proposer
from zip_keras.ops.boxes import decode, iou


@pytest.fixture(scope="module")
def network() -> ProposalNetwork:
    """Narrow, of two levels, with random quality outputs that spread."""
    keras.utils.set_random_seed(2)
    network = ProposalNetwork(
        ModelConfig(width=0.0625, head_channels=8, quality=True), TargetConfig(per_class=30), LossConfig(quality="all")
    )
    for level in (1, 2, 3):
        head = network.get_layer(f"head_{level}")
        for layer in (head.iou, head.score):
            layer.kernel.assign(np.random.default_rng(level).normal(scale=0.1, size=layer.kernel.shape))
    return network


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype("float32")


def test_the_score_is_a_mean_of_probability_and_quality(network, image):
    outputs = network(image)
    probability = ops.convert_to_numpy(ops.softmax(outputs["logits"][1], axis=-1))[..., 1]
    quality = 1 / (1 + np.exp(-ops.convert_to_numpy(outputs["quality"][1])))
    assert quality.std() > 0.01
    for exponent, expected in ((0.0, probability), (1.0, quality), (0.5, np.sqrt(probability * quality))):
        scores = network.scored_boxes(outputs, 64, 96, quality_exponent=exponent)[1]
        np.testing.assert_allclose(ops.convert_to_numpy(scores[1]), expected, rtol=1e-4, atol=1e-6)


def test_the_proposer_ranks_by_the_exponent_of_its_config(network, image):
    outputs = network(image)
    for exponent in (0.0, 1.0):
        proposer = Proposer(network, PostprocessConfig(quality_exponent=exponent), short_sides=None)
        best = ops.convert_to_numpy(proposer(image)["scores"])[0, 0]
        scores = network.scored_boxes(outputs, 64, 96, quality_exponent=exponent)[1]
        assert best == pytest.approx(max(float(ops.max(x)) for x in scores), rel=1e-4)


def test_what_the_loss_learns_is_the_iou_of_the_boxes(network, batch):
    """With the true IoU as its output the quality loss is as small as it can be; difficult objects count as none."""
    images, y = batch(np.random.default_rng(3), images=2, objects=(2, 1))
    y["difficult"][1, 0] = True
    outputs = {name: list(map(ops.convert_to_numpy, levels)) for name, levels in network(images).items()}
    anchors = [ops.convert_to_numpy(x) for x in network.anchors(*images.shape[1:3])]
    wanted = np.where((y["classes"] >= 0)[..., None] & ~y["difficult"][..., None], y["boxes"], 0)
    truth = []
    for level, boxes in enumerate(anchors):
        overlap = ops.convert_to_numpy(iou(boxes[None], wanted))  # [B, N, M]
        found = ops.convert_to_numpy(decode(outputs["deltas"][level], boxes))
        match = np.argmax(overlap, axis=-1)
        all_pairs = ops.convert_to_numpy(iou(found, wanted))
        truth.append(np.take_along_axis(all_pairs, match[..., None], axis=-1)[..., 0])
    assert max(x[0].max() for x in truth) > 0.3
    assert max(x[1].max() for x in truth) == 0.0

    def quality_loss(values):
        logits = [np.log(np.clip(x, 1e-6, 1) / np.clip(1 - x, 1e-6, 1)).astype("float32") for x in values]
        losses = network.image_losses(images, y, {**outputs, "quality": logits})
        return sum(ops.convert_to_numpy(losses[f"quality_{level}"]) for level in (1, 2, 3))

    best = quality_loss(truth)
    np.testing.assert_allclose(best, 0.0, atol=1e-4)
    worse = quality_loss([np.where(x > 0.1, x - 0.1, x) for x in truth])
    assert worse[0] > best[0] + 1e-4
    assert (quality_loss([x + 0.2 * (x < 0.1) for x in truth]) > best + 1e-3).all()


def test_the_quality_loss_moves_no_box(network, batch):
    """It judges the boxes as they are; without this they would grow to whatever is easy to judge."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes a gradient tape")
    import tensorflow as tf

    images, y = batch(np.random.default_rng(4))
    outputs = network(images)
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        losses = network.image_losses(images, y, outputs)
        loss = sum(tf.reduce_sum(losses[f"quality_{level}"]) for level in (1, 2, 3))
    gradients = tape.gradient(loss, outputs, unconnected_gradients="zero")
    assert all(not np.any(x) for x in gradients["deltas"])
    assert any(np.any(x) for x in gradients["quality"])


def test_the_loss_is_part_of_the_sum(network, batch):
    images, y = batch(np.random.default_rng(5))
    losses = {name: ops.convert_to_numpy(x) for name, x in network.image_losses(images, y, network(images)).items()}
    parts = [losses[f"{kind}_{m}"] for kind in ("classification", "box", "quality") for m in (1, 2, 3)]
    np.testing.assert_allclose(losses["loss"], sum(parts), rtol=1e-5)
    assert all((losses[f"quality_{m}"] > 0).all() for m in (1, 2, 3))


def test_quality_excludes_refinement():
    with pytest.raises(UserError, match="set refinement_steps to 0 or quality to false"):
        ModelConfig(quality=True, refinement_steps=1)


def test_networks_of_the_paper_have_no_quality(image):
    network = ProposalNetwork(ModelConfig(width=0.0625, head_channels=8))
    assert set(network(image)) == {"logits", "deltas"}
    assert not [v.path for v in network.variables if "iou" in v.path or v.path.startswith("merge_1_normalisation")]


def test_f_is_normalised_before_the_merge(image):
    """Every channel that enters the merge has mean 0 and deviation 1 over a batch, whatever the backbone gives."""
    config = ModelConfig(width=0.0625, head_channels=8, merge="conv", merge_normalisation=True)
    network = ProposalNetwork(config)
    inner = keras.Model(network.input, [network.get_layer(f"merge_{m}_normalisation").output for m in (1, 2)])
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (2, 64, 96, 3)).astype("float32")
    for normalised in inner(images, training=True):
        values = ops.convert_to_numpy(normalised)
        np.testing.assert_allclose(values.mean(axis=(0, 1, 2)), 0.0, atol=1e-3)
        spread = values.std(axis=(0, 1, 2))
        assert (spread < 1.01).all()
        assert np.median(spread) > 0.9
