import math

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import LossConfig
from zip_keras.losses.rpn import QUALITY_LEAST, level_losses, quality_loss
from zip_keras.targets.matching import BACKGROUND, GRAY, IGNORED, OBJECT
from zip_keras.targets.sampling import Sample

ANCHORS = np.array([[0, 0, 10, 10], [0, 0, 20, 20], [5, 5, 15, 25]], "float32")


def sampled(anchors, labels, used=None):
    used = [1.0] * len(anchors) if used is None else used
    return Sample(np.array([anchors], "int32"), np.array([labels], "int32"), np.array([used], "float32"))


def losses(logits, deltas, drawn, matched=None, config=LossConfig()):  # noqa: B008
    matched = ANCHORS[drawn.anchors] if matched is None else np.array([matched], "float32")
    result = level_losses(np.array([logits], "float32"), np.array([deltas], "float32"), ANCHORS, matched, drawn, config)
    return [float(ops.convert_to_numpy(x)[0]) for x in result]


ZEROS = np.zeros((3, 4))


def test_cross_entropy_by_hand():
    logits = [[2, 0, 1], [0, 0, 0], [9, 9, 9]]
    z = math.e**2 + 1 + math.e
    expected = [math.log(z) - 0, math.log(3)]  # of object at anchor 0, of gray at anchor 1
    result, box = losses(logits, ZEROS, sampled([0, 1], [OBJECT, GRAY]))
    assert result == pytest.approx(sum(expected) / 2, rel=1e-6)
    assert box == 0  # the deltas of the perfect anchor are 0


def test_smooth_l1_by_hand():
    deltas = np.array([[0.05, -0.5, 0, 0], [7, 7, 7, 7], [7, 7, 7, 7]])
    # below 1/9: d * d / 2 * 9; above: |d| - 1/18; divided by the two sampled anchors; anchor 1 is no object
    expected = (0.5 * 0.05**2 * 9 + 0.5 - 1 / 18) / 2
    drawn = sampled([0, 1], [OBJECT, BACKGROUND])
    assert losses(np.zeros((3, 2)), deltas, drawn)[1] == pytest.approx(expected, rel=1e-5)
    assert losses(np.zeros((3, 2)), deltas, drawn, config=LossConfig(box_weight=3))[1] == pytest.approx(3 * expected)


def test_smooth_l1_is_smooth_where_square_meets_line():
    def at(size):
        deltas = [[size, 0, 0, 0], [0] * 4, [0] * 4]
        return losses(np.zeros((3, 2)), deltas, sampled([0], [OBJECT]))[1]

    edge = 1 / 9
    assert at(edge) == pytest.approx(edge / 2, rel=1e-5)
    assert at(edge + 1e-3) - at(edge) == pytest.approx(1e-3, rel=1e-2)  # slope 1 on both sides
    assert at(edge) - at(edge - 1e-3) == pytest.approx(1e-3, rel=1e-2)


def test_l2_by_hand():
    deltas = [[0.05, -0.5, 0, 0], [0] * 4, [0] * 4]
    result = losses(np.zeros((3, 2)), deltas, sampled([0, 1], [OBJECT, BACKGROUND]), config=LossConfig(box="l2"))
    assert result[1] == pytest.approx((0.05**2 + 0.5**2) / 2, rel=1e-5)  # over two anchors


def test_generalised_iou_by_hand():
    matched = [[0, 0, 10, 10], [3, 3, 3, 3]]
    deltas = [[0.5, 0, 0, 0], [0] * 4, [0] * 4]  # the box [5, 0, 15, 10]; anchor 1 is no object
    drawn = sampled([0, 1], [OBJECT, BACKGROUND])
    result = losses(np.zeros((3, 2)), deltas, drawn, matched, LossConfig(box="giou", box_weight=3))
    assert result[1] == pytest.approx(3 * (1 - 50 / 150) / 2, rel=1e-6)


def test_deltas_are_compared_with_the_matched_objects():
    matched = [[5, 0, 25, 10]]  # of anchor 0: one height down, twice as high
    deltas = [[1.0, 0.0, math.log(2), 0.0], [0] * 4, [0] * 4]
    assert losses(np.zeros((3, 2)), deltas, sampled([0], [OBJECT]), matched)[1] == pytest.approx(0, abs=1e-6)


def test_places_without_an_anchor_change_nothing():
    rng = np.random.default_rng(0)
    logits, deltas = rng.normal(size=(3, 3)), rng.normal(size=(3, 4))
    few = losses(logits, deltas, sampled([0, 2], [OBJECT, GRAY]))
    many = losses(logits, deltas, sampled([0, 2, 1, 0], [OBJECT, GRAY, OBJECT, BACKGROUND], [1, 1, 0, 0]))
    assert many == pytest.approx(few)


def test_sample_order_and_logit_shift_change_nothing():
    rng = np.random.default_rng(1)
    logits, deltas = rng.normal(size=(3, 3)), rng.normal(size=(3, 4))
    expected = losses(logits, deltas, sampled([0, 2, 1], [OBJECT, GRAY, BACKGROUND]))
    assert losses(logits + 5, deltas, sampled([1, 0, 2], [BACKGROUND, OBJECT, GRAY])) == pytest.approx(expected)


def test_an_image_without_a_sample_costs_nothing():
    assert losses(np.ones((3, 3)), np.ones((3, 4)), sampled([0, 1], [OBJECT, BACKGROUND], [0, 0])) == [0, 0]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow")
@pytest.mark.parametrize("box", ["smooth_l1", "l2", "giou"])
def test_gradients_stay_finite(box):
    import tensorflow as tf

    drawn = sampled([0, 1, 2], [OBJECT, BACKGROUND, OBJECT], [1, 1, 0])
    matched = np.array([[[0, 0, 10, 10], [0, 0, 0, 0], [0, 0, 0, 0]]], "float32")
    logits = tf.constant([[[50.0, -50.0], [0.0, 0.0], [1e4, -1e4]]])
    deltas = tf.constant([[[1e6, -1e6, 0.0, 0.0], [1e30] * 4, [1e30] * 4]])
    with tf.GradientTape() as tape:
        tape.watch([logits, deltas])
        config = LossConfig(box=box)
        total = sum(loss[0] for loss in level_losses(logits, deltas, ANCHORS, matched, drawn, config))
    gradients = tape.gradient(total, [logits, deltas])
    assert np.isfinite(total.numpy())
    assert all(np.isfinite(gradient.numpy()).all() for gradient in gradients)
    assert np.abs(gradients[1].numpy()[0, 1:]).max() == 0  # neither background nor an unused place moves a box


def test_images_may_have_anchors_of_their_own():
    rng = np.random.default_rng(3)
    logits, deltas = (rng.normal(size=(2, 3, n)).astype("float32") for n in (3, 4))
    anchors = np.stack([ANCHORS, ANCHORS[::-1] + 2])
    numbers, labels = np.array([[0, 1, 2], [2, 0, 1]], "int32"), np.array([[1, 0, 2], [1, 1, 0]], "int32")
    drawn = Sample(numbers, labels, np.array([[1, 1, 0], [1, 1, 1]], "float32"))
    matched = rng.uniform(0, 10, (2, 3, 4)).astype("float32") + np.array([0, 0, 15, 15], "float32")
    whole = level_losses(logits, deltas, anchors, matched, drawn, LossConfig())
    for i in range(2):
        part = slice(i, i + 1)
        alone = Sample(*(x[part] for x in drawn))
        of_image = level_losses(logits[part], deltas[part], anchors[i], matched[part], alone, LossConfig())
        for one, other in zip(whole, of_image, strict=True):
            assert float(one[i]) == pytest.approx(float(other[0]), rel=1e-6)
            assert float(one[i]) > 0


# --- quality: three anchors whose boxes are the anchors themselves (deltas 0)

# IoU of each anchor with it: 100 / 200, 200 / 400, and 0 of the empty box
OBJECTS = np.array([[[0, 0, 10, 20], [0, 0, 10, 20], [0, 0, 0, 0]]], "float32")
TRUE = [0.5, 0.5, 0.0]


def quality_of(logits, drawn, labels=(OBJECT, GRAY, BACKGROUND), deltas=ZEROS, **config):
    arguments = [np.array([x], "float32") for x in (logits, deltas)]
    labels = np.array([labels], "int32")
    result = quality_loss(*arguments, ANCHORS, OBJECTS, labels, drawn, LossConfig(**config))
    return float(ops.convert_to_numpy(result)[0])


def cross_entropy(logit, target):
    probability = 1 / (1 + math.exp(-logit))
    return -target * math.log(probability) - (1 - target) * math.log(1 - probability)


def test_quality_of_sampled_anchors_by_hand():
    drawn = sampled([0, 2, 1], [OBJECT, BACKGROUND, GRAY], used=[1, 1, 0])
    expected = (cross_entropy(2.0, 0.5) + cross_entropy(-1.0, 0.0)) / 2
    assert quality_of([2, 9, -1], drawn) == pytest.approx(expected, rel=1e-5)
    assert quality_of([2, 9, -1], drawn, quality_weight=3.0) == pytest.approx(3 * expected, rel=1e-5)


def test_quality_of_all_anchors_by_hand():
    """The sample plays no part; ignored anchors have none; few objects are divided by `QUALITY_LEAST`."""
    logits = [2.0, 1.0, -1.0]
    costs = [(t - 1 / (1 + math.exp(-x))) ** 2 * cross_entropy(x, t) for x, t in zip(logits, TRUE, strict=True)]
    drawn = sampled([0], [OBJECT])
    assert quality_of(logits, drawn, quality="all") == pytest.approx(sum(costs) / QUALITY_LEAST, rel=1e-4)
    ignoring = quality_of(logits, drawn, (OBJECT, IGNORED, BACKGROUND), quality="all")
    assert ignoring == pytest.approx((costs[0] + costs[2]) / QUALITY_LEAST, rel=1e-4)


def test_the_true_iou_is_of_the_moved_box():
    """Anchor 0 moved right by half of its width and made twice as wide is the object: IoU 1."""
    deltas = [[0, 0.5, 0, math.log(2)], [0] * 4, [0] * 4]
    drawn = sampled([0], [OBJECT])
    assert quality_of([3, 0, 0], drawn, deltas=deltas) == pytest.approx(cross_entropy(3.0, 1.0), rel=1e-4)


@pytest.mark.parametrize("kind", ["sampled", "all"])
def test_quality_is_lowest_at_the_true_iou(kind):
    drawn = sampled([0, 1, 2], [OBJECT, GRAY, BACKGROUND])
    logits = [0.0, 0.0, -20.0]  # sigmoid .5, .5, 0
    best = quality_of(logits, drawn, quality=kind)
    for place in range(3):
        for step in (-0.5, 0.5) if place < 2 else (15.0, 19.0):
            moved = list(logits)
            moved[place] += step
            assert quality_of(moved, drawn, quality=kind) > best
