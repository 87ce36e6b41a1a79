"""Recursive refinement: regressed boxes are fed back, scored and refined again, in training and at test."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import AnchorConfig, ModelConfig, PostprocessConfig, TargetConfig
from zip_keras.errors import UserError
from zip_keras.inference.options import InferenceOptions
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.proposer import Proposer
from zip_keras.weights.npz import load_weights, save_weights

POSTPROCESS = PostprocessConfig(pre_nms_top_n=200, thresholds=(0.9, 0.6), counts=(60, 20), max_proposals=30)
SQUARES = AnchorConfig(scales=((16.0,), (), (64.0,)), ratios=(1.0,))


def array(x):
    return ops.convert_to_numpy(x)


def network_of(recursion, seed=0, targets=None, **options) -> ProposalNetwork:
    keras.utils.set_random_seed(seed)
    options = {"backbone": "tiny", "head_channels": 8, "zoom_in": "none", **options}
    return ProposalNetwork(ModelConfig(refinement_steps=recursion, **options), targets or TargetConfig(per_class=30))


def lively(network):
    """Scales the heads' last convolutions so that scores and deltas spread as a trained network's do."""
    image = np.random.default_rng(7).uniform(0, 255, (1, 64, 96, 3)).astype("float32")
    for kind, spread in (("deltas", 0.1), ("score", 1.0), ("refined_deltas", 0.1), ("refined_score", 1.0)):
        outputs = network(image)
        answer = outputs["refinements"][0] if kind.startswith("refined") else outputs
        for i, level in enumerate(network.levels):
            kernel = getattr(network.get_layer(f"head_{level}"), kind).kernel
            kernel.assign(kernel * (spread / np.std(answer["deltas" if "deltas" in kind else "logits"][i])))
    return network


@pytest.fixture(scope="module")
def twice():
    """A network with two steps."""
    return lively(network_of(2))


def images_of(rng, count=2, size=(40, 70)):
    return rng.uniform(0, 255, (count, *size, 3)).astype("float32")


def decoded(deltas, boxes):
    """Boxes moved by deltas in plain NumPy: centres by shares of the sides, sides by factors."""
    sides = boxes[..., 2:] - boxes[..., :2]
    centres = boxes[..., :2] + sides / 2 + deltas[..., :2] * sides
    sides = sides * np.exp(deltas[..., 2:])
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)


def test_each_step_starts_from_the_boxes_of_the_one_before(twice):
    outputs = twice(images_of(np.random.default_rng(0)))
    assert [x.shape for x in outputs["hidden"]] == [(2, 8, 12, 8), (2, 4, 6, 8), (2, 2, 3, 8)]
    for level, anchors in enumerate(map(array, twice.anchors(40, 70))):
        boxes = decoded(array(outputs["deltas"][level]), anchors[None])
        for refined in outputs["refinements"]:
            deltas, starts = array(refined["deltas"][level]), array(refined["starts"][level])
            assert refined["logits"][level].shape == outputs["logits"][level].shape
            np.testing.assert_allclose(decoded(starts, anchors[None]), boxes, rtol=1e-4, atol=1e-2)
            assert np.abs(deltas).max() > 0.05
            boxes = decoded(deltas, boxes)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_boxes_and_scores_are_those_of_the_last_step(twice, steps):
    outputs = twice(images_of(np.random.default_rng(1)))
    answer = outputs if steps == 0 else outputs["refinements"][steps - 1]
    boxes, scores = twice.scored_boxes(outputs, 40, 70, steps)
    for level, anchors in enumerate(map(array, twice.anchors(40, 70))):
        starts = anchors[None] if steps == 0 else decoded(array(answer["starts"][level]), anchors[None])
        expected = decoded(array(answer["deltas"][level]), starts)
        np.testing.assert_allclose(array(boxes[level]), expected, rtol=1e-4, atol=1e-2)
        logits = array(answer["logits"][level])
        expected = np.exp(logits[..., 1]) / np.exp(logits).sum(axis=-1)
        np.testing.assert_allclose(array(scores[level]), expected, atol=1e-5)
    if steps == 2:
        for one, other in zip(boxes, twice.scored_boxes(outputs, 40, 70)[0], strict=True):
            np.testing.assert_array_equal(array(one), array(other))  # as often as in training


def test_constant_offsets_by_hand():
    """Every step moves a box down by a tenth of its height and makes it 1.2 times as wide."""
    network = network_of(1, anchors=SQUARES)
    for level in network.levels:
        head = network.get_layer(f"head_{level}")
        head.deltas.kernel.assign(ops.zeros_like(head.deltas.kernel))
        head.refined_deltas.kernel.assign(ops.zeros_like(head.refined_deltas.kernel))
        head.refined_deltas.bias.assign([0.1, 0.0, 0.0, math.log(1.2)])
    outputs = network(images_of(np.random.default_rng(2), size=(32, 32)))
    for steps, (down, width) in enumerate([(0, 16), (1.6, 19.2), (3.2, 23.04), (4.8, 27.648)]):
        boxes = array(network.scored_boxes(outputs, 32, 32, steps)[0][0])
        # the anchor of the first cell has its centre at (4, 4)
        expected = [4 + down - 8, 4 - width / 2, 4 + down + 8, 4 + width / 2]
        np.testing.assert_allclose(boxes[1, 0], expected, atol=1e-4)


def test_further_steps_equal_those_of_a_longer_network(twice):
    once = network_of(1, seed=5)
    once.set_weights(twice.get_weights())
    images = images_of(np.random.default_rng(3))
    expected = twice.scored_boxes(twice(images), 40, 70)
    for one, other in zip(keras.tree.flatten(once.scored_boxes(once(images), 40, 70, 2)),
                          keras.tree.flatten(expected), strict=True):  # fmt: skip
        np.testing.assert_allclose(array(one), array(other), rtol=1e-5, atol=1e-4)


def test_boxes_stay_finite_however_often_they_grow(twice):
    network = network_of(1, seed=5, anchors=SQUARES)
    for level in network.levels:
        head = network.get_layer(f"head_{level}")
        head.refined_deltas.bias.assign([3.0, -3.0, 9.0, -9.0])
    images = images_of(np.random.default_rng(4))
    for boxes in network.scored_boxes(network(images), 40, 70, 12)[0]:
        sides = array(boxes[..., 2:] - boxes[..., :2])
        assert np.isfinite(sides).all()
        assert (sides > 0).all()


def test_a_plain_network_becomes_a_recursive_one_by_its_weights(tmp_path):
    plain, recursive = network_of(0, seed=1), network_of(2, seed=2)
    save_weights(plain, tmp_path / "plain.npz")
    report = load_weights(recursive, tmp_path / "plain.npz")
    assert not report.unused
    parts = {line.split("/")[1] for line in report.kept}
    assert parts == {"refinement", "refined_score", "refined_deltas"}
    images = images_of(np.random.default_rng(5))
    expected = plain.scored_boxes(plain(images), 40, 70)
    result = recursive.scored_boxes(recursive(images), 40, 70, steps=0)
    for one, other in zip(keras.tree.flatten(result), keras.tree.flatten(expected), strict=True):
        np.testing.assert_array_equal(array(one), array(other))


# --- training


def test_the_loss_is_the_sum_of_the_passes(twice, batch):
    images, y = batch(np.random.default_rng(6))
    outputs = twice(images)
    losses = {name: array(x) for name, x in twice.image_losses(images, y, outputs).items()}
    assert {x.shape for x in losses.values()} == {(3,)}
    own = sum(losses[f"{kind}_{m}"] for kind in ("classification", "box") for m in (1, 2, 3))
    np.testing.assert_allclose(losses["loss"], own + losses["loss_step_1"] + losses["loss_step_2"], rtol=1e-5)
    assert (losses["loss_step_1"] > 0).all()
    np.testing.assert_allclose(array(twice.compute_loss(images, y, outputs)), losses["loss"].mean(), rtol=1e-6)
    part = twice.image_losses(images[1:], *keras.tree.map_structure(lambda x: x[1:], (y, outputs)))
    for name, values in part.items():
        np.testing.assert_allclose(array(values), losses[name][1:], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_pass_learns_the_regressed_boxes_by_hand(batch):
    """Where the head makes its anchors fit an object, the step has that box as its positive, and nothing to move."""
    network = network_of(1, anchors=SQUARES)
    head = network.get_layer("head_1")
    for layer in (head.deltas, head.score, head.refined_deltas, head.refined_score):
        layer.kernel.assign(ops.zeros_like(layer.kernel))
    images, y = batch(np.random.default_rng(7), images=1, size=(32, 32), objects=(0,))
    y["boxes"][0, 0], y["classes"][0, 0] = [12, 4, 28, 20], 0  # centre (20, 12): 8 below the anchor at (12, 12)

    def losses():
        return {name: float(array(x)[0]) for name, x in network.image_losses(images, y, network(images)).items()}

    still = losses()
    assert still["positives_1"] == 1  # the anchor at (20, 12) itself
    assert still["positives_step_1"] == 1
    assert still["box_1"] == 0
    head.deltas.bias.assign([0.5, 0.0, 0.0, 0.0])  # half of 16 pixels: each anchor becomes its lower neighbour
    moved = losses()
    assert (moved["positives_1"], moved["positives_step_1"]) == (1, 1)
    assert moved["box_1"] > 0  # the anchor that fitted has been moved away
    assert moved["loss_step_1"] == pytest.approx(still["loss_step_1"], rel=1e-6)  # another box has come to its place
    head.deltas.bias.assign([0.0, 0.0, math.log(3), math.log(3)])  # 48 x 48: none reaches .6 any more
    assert losses()["positives_step_1"] == 0
    head.deltas.bias.assign([0.0, 0.0, 0.0, 0.0])
    head.refined_deltas.bias.assign([0.0, 0.0, math.log(2), 0.0])
    # smooth L1, bent at 1/9, of log 2; sampled are the object and two negatives (neighbours have IoU 1/3: ignored)
    expected = still["loss_step_1"] + (math.log(2) - 1 / 18) / 3
    assert losses()["loss_step_1"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow")
def test_gradients_do_not_pass_through_the_boxes(batch):
    import tensorflow as tf

    network = lively(network_of(2))
    images, y = batch(np.random.default_rng(9), size=(96, 128))
    y["boxes"][0, :3] = [[10, 10, 26, 26], [20, 20, 84, 84], [-64, -48, 160, 176]]
    with tf.GradientTape(persistent=True) as tape:
        losses = network.image_losses(images, y, network(images, training=True))
        refined = losses["loss_step_1"] + losses["loss_step_2"]
    for variable, gradient in zip(
        network.trainable_variables, tape.gradient(losses["loss"], network.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient.numpy()).all(), variable.path
        assert np.abs(gradient.numpy()).max() > 0, variable.path
    heads = [network.get_layer(f"head_{level}") for level in (1, 2, 3)]
    boxes, maps = ([getattr(head, layer).kernel.value for head in heads] for layer in ("deltas", "convolution"))
    of_boxes, of_maps = tape.gradient(refined, [boxes, maps])
    assert of_boxes == [None] * 3
    assert None not in of_maps


def test_compute_type_reaches_neither_outputs_nor_boxes(batch):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = network_of(1)
    finally:
        keras.config.set_dtype_policy(before)
    images, y = batch(np.random.default_rng(10))
    outputs = network(images)
    assert {array(x).dtype for x in keras.tree.flatten(outputs)} == {np.dtype("float32")}
    assert network.get_layer("head_1").refinement.compute_dtype == "bfloat16"
    assert np.isfinite(array(network.image_losses(images, y, outputs)["loss"])).all()
    for boxes in network.scored_boxes(outputs, 70, 90, steps=3)[0]:
        assert array(boxes).dtype == np.float32


# --- proposers


def test_a_proposer_takes_the_passes_it_is_told(twice, tmp_path):
    images = images_of(np.random.default_rng(11), size=(32, 64)).astype("uint8")
    proposers = {n: Proposer(twice, POSTPROCESS, short_sides=None, refinement_steps=n) for n in (None, 0, 1, 2, 3)}
    answers = {n: array(proposer(images)["boxes"]) for n, proposer in proposers.items()}
    np.testing.assert_array_equal(answers[None], answers[2])
    for one, other in ((0, 1), (1, 2), (2, 3)):
        assert np.abs(answers[one] - answers[other]).max() > 0.1
    proposers[3].save(tmp_path / "proposer.keras")
    loaded = keras.models.load_model(tmp_path / "proposer.keras")
    assert (loaded.refinement_steps, loaded.network.config.refinement_steps) == (3, 2)
    np.testing.assert_array_equal(array(loaded(images)["boxes"]), answers[3])


def test_settings_change_the_passes_and_keep_them(twice):
    proposer = Proposer(twice, POSTPROCESS, short_sides=64, refinement_steps=1)
    assert InferenceOptions(max_proposals=5).apply(proposer).refinement_steps == 1
    assert InferenceOptions(refinement_steps=0).apply(proposer).refinement_steps == 0
    with pytest.raises(UserError, match="refinement_steps is -2"):
        InferenceOptions(refinement_steps=-2).apply(proposer)


def test_passes_that_cannot_be_are_refused(twice):
    with pytest.raises(UserError, match=r"refinement_steps is 1, .* without; train one with model\.refinement_steps=1"):
        Proposer(network_of(0), refinement_steps=1)
    with pytest.raises(UserError, match="refinement_steps is -1; it must be 0 or more"):
        Proposer(twice, refinement_steps=-1)
    with pytest.raises(UserError, match="refinement_steps must not be negative"):
        ModelConfig(refinement_steps=-1)


def test_sizes_share_one_trace(twice):
    tf = pytest.importorskip("tensorflow")
    proposer = Proposer(twice, POSTPROCESS, short_sides=None, refinement_steps=3)
    in_graph = tf.function(proposer, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)], autograph=False)
    for size in ((60, 80), (7, 5)):
        images = images_of(np.random.default_rng(12), size=size).astype("uint8")
        np.testing.assert_allclose(in_graph(images)["scores"], proposer(images)["scores"], atol=1e-4)
    assert in_graph.experimental_get_tracing_count() == 1
