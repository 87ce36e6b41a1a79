"""Detectors of one and two stages on a tiny backbone with random weights."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.tiny_backbone import TINY_MAD_MODEL, TINY_MODEL
from zip_keras.config import (
    DetectionConfig,
    DetectorConfig,
    DetectorLossConfig,
    ModelConfig,
    PostprocessConfig,
    RoIHeadConfig,
    RoITargetConfig,
    TargetConfig,
)
from zip_keras.errors import UserError
from zip_keras.layers.roi_head import RoIHead
from zip_keras.models.detector import Detector
from zip_keras.models.one_stage import OneStageNetwork
from zip_keras.models.two_stage import TwoStageNetwork

NAMES = ("disc", "box", "star")
HEAD = RoIHeadConfig(width=16, blocks=(1, 1), pool_size=3)
PROPOSALS = PostprocessConfig(pre_nms_top_n=100, post_nms_top_n=50, thresholds=(0.7,), counts=(30,), max_proposals=20)
RANKED = DetectionConfig(max_detections=12, pre_nms_top_n=100)


def two_stage(model=TINY_MODEL, names=NAMES, **changes):
    keras.utils.set_random_seed(3)
    detector = DetectorConfig(
        kind="two_stage", head=HEAD, targets=RoITargetConfig(per_image=8, proposals=20), postprocess=RANKED, **changes
    )
    return TwoStageNetwork(model, TargetConfig(best_anchor_positive=True), None, detector, PROPOSALS, names)


def one_stage(anchors="sampled", model=TINY_MODEL, names=NAMES):
    keras.utils.set_random_seed(3)
    detector = DetectorConfig(kind="one_stage", loss=DetectorLossConfig(anchors=anchors), postprocess=RANKED)
    return OneStageNetwork(model, TargetConfig(best_anchor_positive=True), detector, names)


def spread(network):
    """Scores and boxes that differ as a trained network's do."""
    rng = np.random.default_rng(2)
    for variable in network.weights:
        if variable.path.endswith("kernel") and any(part in variable.path for part in ("score", "deltas")):
            scale = 0.3 if "score" in variable.path else 0.02
            variable.assign(rng.normal(0, scale, variable.shape))
    return network


@pytest.fixture(scope="module")
def networks():
    return {
        "two_stage": spread(two_stage(TINY_MAD_MODEL)),
        "one_stage": spread(one_stage(model=TINY_MAD_MODEL)),
    }


@pytest.fixture(scope="module")
def detectors(networks):
    return {name: Detector(network, short_sides=64, long_side=96) for name, network in networks.items()}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 60, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def answers(detectors, images):
    return {name: as_arrays(detector(images)) for name, detector in detectors.items()}


both = pytest.mark.parametrize("kind", ["two_stage", "one_stage"])


def as_arrays(result):
    return {name: ops.convert_to_numpy(x) for name, x in result.items()}


def assert_same(one, other, atol=1e-3):
    for name in one:
        np.testing.assert_allclose(one[name].astype("float64"), other[name].astype("float64"), atol=atol, err_msg=name)


@both
def test_the_contract(answers, kind):
    found = answers[kind]
    kinds = {name: (x.dtype.name, x.shape) for name, x in found.items()}
    assert kinds == {
        "boxes": ("float32", (3, 12, 4)),
        "scores": ("float32", (3, 12)),
        "classes": ("int32", (3, 12)),
        "valid": ("bool", (3, 12)),
        "levels": ("int32", (3, 12)),
    }
    valid = found["valid"]
    assert valid.any()
    assert set(found["classes"][valid]) <= {0, 1, 2}
    assert len(set(found["classes"][valid])) > 1
    assert set(found["levels"][valid]) <= {1, 2, 3}
    assert (np.diff(found["scores"]) <= 0).all()
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"][..., 2:] <= np.array([60, 80]) + 1e-3).all()


@both
def test_an_image_alone_gives_what_it_gives_in_a_batch(detectors, images, answers, kind):
    alone = as_arrays(detectors[kind](images[1:2]))
    assert_same(alone, {name: x[1:2] for name, x in answers[kind].items()})


@both
def test_a_keras_file_gives_the_same(detectors, images, answers, kind, tmp_path):
    detectors[kind].save(tmp_path / "detector.keras")
    loaded = keras.models.load_model(tmp_path / "detector.keras")
    assert loaded.class_names == NAMES
    assert loaded.get_config() == detectors[kind].get_config()
    assert_same(as_arrays(loaded(images)), answers[kind], atol=0)


@both
def test_the_score_threshold_comes_last(detectors, images, answers, kind):
    everything = answers[kind]
    border = float(np.sort(everything["scores"][0])[-4])
    strict = detectors[kind].with_options(
        postprocess=DetectionConfig(pre_nms_top_n=100, max_detections=12, score_threshold=border)
    )
    found = as_arrays(strict(images))
    np.testing.assert_array_equal(found["valid"], everything["valid"] & (everything["scores"] >= border))
    for name in ("boxes", "scores", "classes"):
        np.testing.assert_array_equal(found[name][found["valid"]], everything[name][found["valid"]])
    assert not found["boxes"][~found["valid"]].any()


def test_images_that_are_none_are_refused(detectors):
    for images, message in (
        (np.zeros((1, 64, 64, 1), "float32"), r"shape \[1, 64, 64, 1\]: a Detector takes RGB"),
        (
            np.linspace(0, 1, 64 * 64 * 3, dtype="float32").reshape(1, 64, 64, 3),
            r"from 0 to 1: a Detector takes 0\.\.255",
        ),
    ):
        with pytest.raises(UserError, match=message):
            detectors["one_stage"](images)


@both
def test_the_mirrored_image_adds_its_detections(detectors, images, answers, kind):
    flipped = detectors[kind].with_options(flip=True)
    found, of_mirrored = as_arrays(flipped(images)), as_arrays(flipped(images[:, :, ::-1]))
    back = of_mirrored["boxes"][..., [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 80, 0, 80]
    assert not np.array_equal(found["boxes"], answers[kind]["boxes"])
    np.testing.assert_allclose(of_mirrored["scores"], found["scores"], atol=1e-4)
    np.testing.assert_allclose(back[found["valid"]], found["boxes"][found["valid"]], atol=0.05)


def gradients(network, images, y):
    tf = pytest.importorskip("tensorflow")
    with tf.GradientTape() as tape:
        losses = network.image_losses(images, y, network(images, training=True))
        loss = tf.reduce_mean(losses["loss"])
    return losses, dict(
        zip(
            [v.path for v in network.trainable_variables], tape.gradient(loss, network.trainable_variables), strict=True
        )
    )


@pytest.mark.parametrize("kind", ["two_stage", "one_stage", "hard_negatives", "focal"])
def test_every_weight_learns_and_stays_finite(kind, batch):
    anchors = "sampled" if kind == "one_stage" else kind
    network = two_stage(TINY_MAD_MODEL) if kind == "two_stage" else one_stage(anchors, TINY_MAD_MODEL)
    images, y = batch(np.random.default_rng(4), size=(64, 96))
    assert (y["classes"][2] == -1).all()
    losses, found = gradients(network, images, y)
    assert all(np.isfinite(ops.convert_to_numpy(x)).all() for x in losses.values())
    assert all(x.shape == (3,) for x in losses.values())
    assert [path for path, gradient in found.items() if gradient is None] == []
    assert all(np.isfinite(ops.convert_to_numpy(gradient)).all() for gradient in found.values())
    assert all(float(x) > 0 for x in losses["loss"])


def test_the_second_stage_alone_leaves_the_first_as_it_is(batch):
    network = two_stage(TINY_MAD_MODEL, train="second")
    images, y = batch(np.random.default_rng(4), size=(64, 96))
    statistics = [v.numpy() for v in network.proposal_network.non_trainable_variables]
    losses, found = gradients(network, images, y)
    assert {path.partition("/")[0] for path in found} == {"roi_head"}
    assert "classification_1" not in losses
    for before, after in zip(statistics, network.proposal_network.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_a_loss_depends_on_nothing_but_the_image(networks, batch):
    """Batch normalisation at rest: an image and its RoIs give the same loss alone and in a batch."""
    images, y = batch(np.random.default_rng(5), size=(64, 96))
    for name, network in networks.items():
        options = {"training": False} if name == "two_stage" else {}
        whole = network.image_losses(images, y, network(images, training=False), **options)["loss"]
        one = {key: value[1:2] for key, value in y.items()}
        alone = network.image_losses(images[1:2], one, network(images[1:2], training=False), **options)["loss"]
        assert float(alone[0]) == pytest.approx(float(whole[1]), rel=1e-4)


def test_its_own_proposals_given_are_classified_as_before(networks, images):
    """At the image's own size, so that nothing is resized; a place without an area is no proposal."""
    network = networks["two_stage"]
    detector = Detector(network, short_sides=None)
    found = network.proposals(network(images.astype("float32")), 60, 80)
    assert_same(as_arrays(detector.classify(images, found.boxes, found.levels)), as_arrays(detector(images)), atol=1e-3)

    flipped = detector.with_options(flip=True)
    boxes = ops.convert_to_numpy(found.boxes)
    mirrored = boxes[..., [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 80, 0, 80]
    one = as_arrays(flipped.classify(images, boxes, found.levels))
    other = as_arrays(flipped.classify(images[:, :, ::-1], mirrored, found.levels))
    np.testing.assert_allclose(other["scores"], one["scores"], atol=1e-4)
    assert not np.array_equal(one["scores"], as_arrays(detector(images))["scores"])


def test_a_given_box_without_a_level_gets_that_of_its_size(networks):
    """Scales 8, 12 on level 1; 24, 32 on level 2; 48, 64 on level 3: they meet at 17 and at 39 pixels."""
    sides = np.array([5, 16, 18, 38, 40, 90, 16, 0], "float32")
    boxes = np.stack([sides * 0, sides * 0, sides, sides], axis=-1)[None]
    levels = np.array([[0, 0, 0, 0, 0, 0, 3, 0]], "int32")
    given = networks["two_stage"].given_proposals(boxes, levels)
    assert ops.convert_to_numpy(given.levels)[0, :7].tolist() == [1, 1, 2, 2, 3, 3, 3]
    assert ops.convert_to_numpy(given.valid)[0].tolist() == [True] * 7 + [False]


def test_losses_of_given_proposals(networks, batch):
    """The network's own, given as targets, give the loss that they give without; others give another one."""
    network = networks["two_stage"]
    images, y = batch(np.random.default_rng(5), size=(64, 96))
    outputs = network(images, training=False)
    found = network.training_proposals(y, outputs, 64, 96)
    own = {**y, "proposals": found.boxes, "proposal_levels": found.levels}
    other = {**own, "proposals": found.boxes + 6.0 * ops.cast(found.valid, "float32")[..., None]}
    plain, given, moved = (network.image_losses(images, t, outputs, training=False) for t in (y, own, other))
    for name in ("roi_classification", "roi_box", "roi_positives"):
        np.testing.assert_allclose(given[name], plain[name], rtol=1e-5, err_msg=name)
    assert not np.allclose(moved["roi_classification"], plain["roi_classification"], rtol=1e-3)


def test_one_stage_takes_no_proposals(detectors, images):
    with pytest.raises(UserError, match="one stage takes no proposals"):
        detectors["one_stage"].classify(images, np.zeros((3, 1, 4)))


def test_roi_head_gives_the_same_in_both_forms(monkeypatch):
    """Level by level on TensorFlow, all RoIs from all maps elsewhere; one level has no RoI."""
    head = RoIHead(2, (1, 2, 3), (8, 16, 32), pool_size=3, width=8, blocks=(1, 1))
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(2, 8 // s, 12 // s, c)).astype("float32") for s, c in ((1, 4), (2, 6), (4, 5))]
    corner = rng.uniform(0, 30, (2, 5, 2))
    boxes = np.concatenate([corner, corner + 25], axis=-1).astype("float32")
    levels = np.array([[1, 2, 1, 2, 0], [2, 2, 1, 1, 1]], "int32")
    together = [ops.convert_to_numpy(x) for x in head(maps, boxes, levels)]
    monkeypatch.setattr(keras.backend, "backend", lambda: "another")
    apart = [ops.convert_to_numpy(x) for x in head.call(maps, boxes, levels)]
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert [x.shape for x in together] == [(2, 5, 3), (2, 5, 2, 4)]


def test_weights_of_a_proposal_network_fit(networks):
    from zip_keras.models.proposal_network import ProposalNetwork

    alone = {variable.path for variable in ProposalNetwork(TINY_MAD_MODEL).weights}
    assert alone <= {variable.path for variable in networks["two_stage"].weights}


def test_mixed_precision_keeps_boxes_and_losses_in_float32(batch):
    images, y = batch(np.random.default_rng(4), size=(64, 96))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = two_stage(TINY_MAD_MODEL)
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = network(images, training=False)
    losses = network.image_losses(images, y, outputs)
    assert {keras.backend.standardize_dtype(x.dtype) for x in losses.values()} == {"float32"}
    found = network.candidates(outputs, 64, 96, 10)
    assert keras.backend.standardize_dtype(found.boxes.dtype) == "float32"
    assert keras.backend.standardize_dtype(outputs["maps"][0].dtype) == "bfloat16"


SOURCES = {
    1: ("backbone_3b", "zoom_in_3a", "backbone_3a", "zoom_in_3b"),
    2: ("backbone_4d", "zoom_in_4e", "backbone_4c", "zoom_in_4d"),
}


@both
def test_extension_e_widens_what_is_pooled_and_scored(kind, images):
    """Four map sources a level (docs/method.md), F3 alone on level 3."""
    model = ModelConfig(width=0.0625, head_channels=8, attention_sources=4, anchors=TINY_MODEL.anchors)
    network = two_stage(model=model) if kind == "two_stage" else one_stage(model=model)
    zoom = network.proposal_network if kind == "two_stage" else network
    widths = {name: zoom.get_layer(name).output.shape[-1] for names in SOURCES.values() for name in names}
    expected = [sum(widths[name] for name in names) for names in SOURCES.values()]
    expected.append(zoom.get_layer("backbone_5b").output.shape[-1])
    if kind == "two_stage":
        found = [layer.kernel.shape[0] for layer in network.roi_head.convolutions]
    else:
        found = [network.get_layer(f"class_head_{level}").input.shape[-1] for level in (1, 2, 3)]
    assert found == expected
    assert len(set(expected)) == 3
    answer = as_arrays(Detector(spread(network), short_sides=64, long_side=96)(images[:1]))
    assert answer["valid"].all()
    assert np.isfinite(answer["boxes"]).all()


def test_a_detector_needs_classes():
    with pytest.raises(UserError, match="at least one class"):
        TwoStageNetwork(TINY_MODEL, class_names=())
