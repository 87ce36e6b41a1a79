import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import PostprocessConfig
from zip_keras.layers.resizing import ShortSideResizing
from zip_keras.models.proposer import Proposer
from zip_keras.ops import boxes as box_ops

POSTPROCESS = PostprocessConfig(pre_nms_top_n=300, thresholds=(0.9, 0.6), counts=(100, 30), max_proposals=40)


def arrays(result):
    return {name: ops.convert_to_numpy(x) for name, x in result.items()}


def photographs(rng, count, size):
    return rng.integers(0, 256, (count, *size, 3), np.uint8)


@pytest.fixture(scope="module")
def proposer(narrow):
    return Proposer(narrow, POSTPROCESS, short_sides=48, long_side=96)


@pytest.mark.parametrize("size", [(60, 80), (20, 100), (97, 33), (7, 5)])
def test_proposals_lie_in_the_given_image(proposer, size):
    result = arrays(proposer(photographs(np.random.default_rng(0), 2, size)))
    boxes, scores, valid = result["boxes"], result["scores"], result["valid"]
    assert (boxes.shape, scores.shape, valid.shape) == ((2, 40, 4), (2, 40), (2, 40))
    assert (boxes.dtype, scores.dtype, valid.dtype) == (np.float32, np.float32, bool)
    assert valid[:, 0].all()
    assert boxes.min() >= 0
    assert (boxes[..., 2:].max(axis=(0, 1)) <= np.array(size) * (1 + 1e-6)).all()
    assert (boxes[..., 2:] > boxes[..., :2])[valid].all()
    assert (np.diff(scores) <= 0).all()
    assert boxes[..., 2:].max(axis=(0, 1)) == pytest.approx(size, rel=1e-5)  # some anchor is larger than the image


def test_boxes_are_those_of_the_network_scaled_back(proposer, narrow):
    images = photographs(np.random.default_rng(1), 1, (60, 80))
    resized = ShortSideResizing(48, 96)(images)
    assert resized.shape == (1, 48, 64, 3)
    outputs = narrow(resized)
    decoded = [
        ops.convert_to_numpy(box_ops.clip(box_ops.decode(deltas, anchors), 48.0, 64.0))[0]
        for deltas, anchors in zip(outputs["deltas"], narrow.anchors(48, 64), strict=True)
    ]
    everything = np.concatenate(decoded) * 60 / 48
    for box in arrays(proposer(images))["boxes"][0, :10]:
        assert np.abs(everything - box).max(axis=1).min() < 1e-3


def test_scores_are_the_probability_of_class_object(proposer, narrow):
    images = photographs(np.random.default_rng(2), 1, (48, 64))
    logits = [ops.convert_to_numpy(x)[0] for x in narrow(images.astype("float32"))["logits"]]
    shares = np.concatenate([np.exp(x)[:, 1] / np.exp(x).sum(axis=1) for x in logits])
    for score in arrays(proposer(images))["scores"][0, :10]:
        assert np.abs(shares - score).min() < 1e-5


def test_bytes_and_floats_are_the_same_image(proposer):
    images = photographs(np.random.default_rng(3), 2, (60, 80))
    one, other = arrays(proposer(images)), arrays(proposer(images.astype("float32")))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_without_resizing_the_network_sees_the_image(narrow):
    images = photographs(np.random.default_rng(4), 1, (48, 64))
    one = arrays(Proposer(narrow, POSTPROCESS, short_sides=None)(images))
    other = arrays(Proposer(narrow, POSTPROCESS, short_sides=48, long_side=100)(images))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], atol=1e-3)


def test_sizes_share_one_trace(proposer):
    tf = pytest.importorskip("tensorflow")
    in_graph = tf.function(proposer, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)], autograph=False)
    for size in ((60, 80), (20, 100), (7, 5)):
        images = photographs(np.random.default_rng(5), 2, size)
        one, other = arrays(in_graph(images)), arrays(proposer(images))
        np.testing.assert_array_equal(one["valid"], other["valid"])
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4)
    assert in_graph.experimental_get_tracing_count() == 1


def test_a_keras_file_gives_the_same_answers(proposer, tmp_path):
    images = photographs(np.random.default_rng(6), 2, (60, 80))
    expected = arrays(proposer(images))
    proposer.save(tmp_path / "proposer.keras")
    loaded = keras.models.load_model(tmp_path / "proposer.keras")
    assert loaded.postprocess_config == POSTPROCESS
    for name, values in arrays(loaded(images)).items():
        np.testing.assert_array_equal(values, expected[name])


def test_making_a_proposer_leaves_its_config_as_it_was(proposer):
    config = proposer.get_config()
    assert Proposer.from_config(config).postprocess_config == POSTPROCESS
    assert config.keys() == proposer.get_config().keys()


def test_float_images_stay_exact_in_mixed_precision(proposer):
    """Under a global bfloat16 policy Keras would round a layer's float inputs: boxes and pixels must not be."""
    assert proposer.autocast is False


def test_looking_twice_at_one_size_changes_nothing(narrow):
    """The second scale's boxes lie on the first's, so the merging drops them; ranks tie, hence a loose comparison."""
    images = photographs(np.random.default_rng(7), 2, (60, 80))
    once = arrays(Proposer(narrow, POSTPROCESS, short_sides=48, long_side=96)(images))
    twice = arrays(Proposer(narrow, POSTPROCESS, short_sides=[48, 48], long_side=96)(images))
    for name, values in once.items():
        np.testing.assert_allclose(twice[name], values, atol=1e-4)


def test_a_second_look_adds_the_boxes_of_that_size(narrow):
    images = photographs(np.random.default_rng(8), 1, (60, 80))
    everything = PostprocessConfig(thresholds=(1.0,), counts=(4000,), max_proposals=4000, nms_iou=1.0)  # no NMS
    small, large, both = (
        arrays(Proposer(narrow, everything, short_sides=side, long_side=128)(images)) for side in (32, 64, [32, 64])
    )
    single = np.concatenate([r["boxes"][0][r["valid"][0]] for r in (small, large)])
    found = both["boxes"][0][both["valid"][0]]
    assert len(found) == small["valid"].sum() + large["valid"].sum()
    distance = np.abs(found[:, None] - single[None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-3  # every box is one of a single scale


def test_with_flip_a_mirrored_image_has_the_mirrored_boxes(narrow):
    images = photographs(np.random.default_rng(9), 1, (64, 64))  # no padding, which would tell left from right
    both = Proposer(narrow, POSTPROCESS, short_sides=64, long_side=64, flip=True)
    one, other = arrays(both(images)), arrays(both(images[:, :, ::-1]))
    np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-5)
    back = other["boxes"][..., [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 64, 0, 64]
    for box in one["boxes"][0, :20]:
        assert np.abs(back[0] - box).max(axis=1).min() < 1e-2
    alone = arrays(Proposer(narrow, POSTPROCESS, short_sides=64, long_side=64)(images))
    assert np.abs(alone["scores"] - one["scores"]).max() > 1e-4  # and the flipped image gives others


def test_settings_survive_a_keras_file(narrow, tmp_path):
    images = photographs(np.random.default_rng(10), 1, (60, 80))
    proposer = Proposer(narrow, POSTPROCESS, [48, 32], 96, flip=True, calibration={"data": "somewhere:val"})
    proposer.save(tmp_path / "proposer.keras")
    loaded = keras.models.load_model(tmp_path / "proposer.keras")
    assert (loaded.short_sides, loaded.flip, loaded.calibration) == ((48, 32), True, {"data": "somewhere:val"})
    after = arrays(loaded(images))
    for name, values in arrays(proposer(images)).items():
        np.testing.assert_array_equal(after[name], values)


def test_levels_tell_who_found_a_box(proposer, narrow):
    images = photographs(np.random.default_rng(1), 1, (60, 80))
    result = arrays(proposer(images))
    outputs = narrow(ShortSideResizing(48, 96)(images))
    for box, level in zip(result["boxes"][0, :10], result["levels"][0, :10], strict=True):
        anchors, deltas = narrow.anchors(48, 64)[level - 1], outputs["deltas"][level - 1]
        decoded = ops.convert_to_numpy(box_ops.clip(box_ops.decode(deltas, anchors), 48.0, 64.0))[0]
        assert np.abs(decoded * 60 / 48 - box).max(axis=1).min() < 1e-3


def test_symbolic_output_is_the_real_one(proposer):
    symbolic = proposer(keras.Input((None, None, 3), dtype="uint8"))
    assert {name: (x.shape, x.dtype) for name, x in symbolic.items()} == {
        "boxes": ((None, 40, 4), "float32"),
        "scores": ((None, 40), "float32"),
        "valid": ((None, 40), "bool"),
        "levels": ((None, 40), "int32"),
    }


def test_a_changed_proposer_keeps_what_is_not_named(narrow):
    proposer = Proposer(
        narrow, POSTPROCESS, [48, 32], 96, flip=True, calibration={"data": "x"}, refinement_steps=0, name="mine"
    )
    changed = proposer.with_options(flip=False)
    assert changed.network is narrow
    assert {**changed.get_config(), "flip": True} == proposer.get_config()
