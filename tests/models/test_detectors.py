"""Detectors of one and two stages on a tiny backbone with random weights."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.tiny_backbone import TINY_MODEL
from zip_keras.config import (
    DetectionConfig,
    DetectorConfig,
    DetectorLossConfig,
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


def two_stage(**changes):
    keras.utils.set_random_seed(3)
    detector = DetectorConfig(
        kind="two_stage", head=HEAD, targets=RoITargetConfig(per_image=8, proposals=20), postprocess=RANKED, **changes
    )
    return TwoStageNetwork(TINY_MODEL, TargetConfig(best_anchor_positive=True), None, detector, PROPOSALS, NAMES)


def one_stage(anchors="sampled"):
    keras.utils.set_random_seed(3)
    detector = DetectorConfig(kind="one_stage", loss=DetectorLossConfig(anchors=anchors), postprocess=RANKED)
    return OneStageNetwork(TINY_MODEL, TargetConfig(best_anchor_positive=True), detector, NAMES)


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
    return {"two_stage": spread(two_stage()), "one_stage": spread(one_stage())}


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
def test_every_weight_learns_and_images_without_objects_stay_finite(kind, batch):
    network = two_stage() if kind == "two_stage" else one_stage("sampled" if kind == "one_stage" else kind)
    images, y = batch(np.random.default_rng(4), size=(64, 96))
    assert (y["classes"][2] == -1).all()
    losses, found = gradients(network, images, y)
    assert all(np.isfinite(ops.convert_to_numpy(x)).all() for x in losses.values())
    assert all(x.shape == (3,) for x in losses.values())
    assert [path for path, gradient in found.items() if gradient is None] == []
    assert all(np.isfinite(ops.convert_to_numpy(gradient)).all() for gradient in found.values())
    assert all(float(x) > 0 for x in losses["loss"])


def test_the_second_stage_alone_leaves_the_first_as_it_is(batch):
    network = two_stage(train="second")
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

    alone = {variable.path for variable in ProposalNetwork(TINY_MODEL).weights}
    assert alone <= {variable.path for variable in networks["two_stage"].weights}


def test_mixed_precision_keeps_boxes_and_losses_in_float32(batch):
    images, y = batch(np.random.default_rng(4), size=(64, 96))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = two_stage()
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = network(images, training=False)
    losses = network.image_losses(images, y, outputs)
    assert {keras.backend.standardize_dtype(x.dtype) for x in losses.values()} == {"float32"}
    found = network.candidates(outputs, 64, 96, 10)
    assert keras.backend.standardize_dtype(found.boxes.dtype) == "float32"
    assert keras.backend.standardize_dtype(outputs["maps"][0].dtype) == "bfloat16"


def test_a_detector_needs_classes():
    with pytest.raises(UserError, match="at least one class"):
        TwoStageNetwork(TINY_MODEL, class_names=())
