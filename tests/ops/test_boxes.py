import math

import numpy as np
import pytest
from keras import ops

from zip_keras.ops import boxes


def array(x):
    return ops.convert_to_numpy(x)


def random_boxes(rng, count, limit=100, integer=False):
    corners = np.sort(rng.uniform(0, limit, (count, 2, 2)), axis=1)  # [count, (low, high), (y, x)]
    if integer:
        corners = np.floor(corners)
    corners[:, 1] += 1
    return corners.reshape(count, 4).astype("float32")


@pytest.mark.parametrize(
    ("box", "expected"),
    [([0, 0, 10, 20], 200), ([5.5, 1, 6, 3], 1.0), ([3, 3, 3, 9], 0), ([10, 0, 0, 10], 0), ([10, 10, 0, 0], 0)],
)
def test_area(box, expected):
    assert array(boxes.area(np.array(box, "float32"))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 10, 10], 1.0),
        ([0, 5, 10, 15], 50 / 150),  # half of either
        ([0, 0, 10, 6], 0.6),  # inside
        ([5, 5, 15, 15], 25 / 175),
        ([0, 10, 10, 20], 0.0),  # touching
        ([20, 20, 30, 30], 0.0),
        ([5, 5, 5, 5], 0.0),  # empty
        ([9, 9, 1, 1], 0.0),  # inverted
    ],
)
def test_iou_by_hand(other, expected):
    square = np.array([[0, 0, 10, 10]], "float32")
    assert array(boxes.iou(square, np.array([other], "float32"))) == pytest.approx(expected, abs=1e-7)


def test_iou_of_two_empty_boxes_is_zero():
    empty = np.zeros((1, 4), "float32")
    assert array(boxes.iou(empty, empty)) == 0


def test_iou_equals_counting_pixels():
    rng = np.random.default_rng(0)
    first, second = random_boxes(rng, 12, 20, integer=True), random_boxes(rng, 9, 20, integer=True)

    def mask(box):
        y1, x1, y2, x2 = box.astype(int)
        grid = np.zeros((21, 21), bool)
        grid[y1:y2, x1:x2] = True
        return grid

    expected = [[(mask(a) & mask(b)).sum() / (mask(a) | mask(b)).sum() for b in second] for a in first]
    np.testing.assert_allclose(array(boxes.iou(first, second)), expected, rtol=1e-6)


def test_iou_takes_leading_dimensions():
    rng = np.random.default_rng(1)
    first, second = random_boxes(rng, 12).reshape(3, 4, 4), random_boxes(rng, 15).reshape(3, 5, 4)
    expected = np.stack([array(boxes.iou(a, b)) for a, b in zip(first, second, strict=True)])
    result = array(boxes.iou(first, second))
    assert result.shape == (3, 4, 5)
    np.testing.assert_array_equal(result, expected)


def test_iou_does_not_depend_on_order_or_scale():
    rng = np.random.default_rng(2)
    first, second = random_boxes(rng, 20), random_boxes(rng, 20)
    expected = array(boxes.iou(first, second))
    np.testing.assert_allclose(array(boxes.iou(second, first)).T, expected, rtol=1e-6)
    np.testing.assert_allclose(array(boxes.iou(8 * first, 8 * second)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 10, 10], 1.0),
        ([0, 5, 10, 15], 50 / 150),  # the box around is what both cover
        ([5, 5, 15, 15], 25 / 175 - (225 - 175) / 225),
        ([0, 20, 10, 30], 0 - (300 - 200) / 300),
        ([0, 990, 10, 1000], -0.98),
        ([5, 0, 5, 10], 0.0),  # empty, inside
    ],
)
def test_generalized_iou_by_hand(other, expected):
    one, two = np.array([[0, 0, 10, 10]], "float32"), np.array([other], "float32")
    assert array(boxes.generalized_iou(one, two)) == pytest.approx([expected], abs=1e-6)
    assert array(boxes.generalized_iou(two, one)) == pytest.approx([expected], abs=1e-6)


def test_generalized_iou_pairs_boxes_and_is_never_more_than_iou():
    rng = np.random.default_rng(0)
    one, two = random_boxes(rng, 200), random_boxes(rng, 200)
    paired = array(boxes.generalized_iou(one.reshape(4, 50, 4), two.reshape(4, 50, 4)))
    assert paired.shape == (4, 50)
    plain = np.diagonal(array(boxes.iou(one, two)))
    assert (paired.ravel() <= plain + 1e-6).all()
    assert paired.min() < -0.3


def test_clip_by_hand():
    result = boxes.clip(np.array([[-5, -1, 200, 30], [2, 3, 4, 5], [120, 60, 130, 70]], "float32"), 100, 50)
    np.testing.assert_array_equal(array(result), [[0, 0, 100, 30], [2, 3, 4, 5], [100, 50, 100, 50]])


def test_offsets_by_hand():
    anchor, box = np.array([0, 0, 10, 20], "float32"), np.array([5, 10, 25, 30], "float32")
    # centre (5, 10) -> (15, 20): one height down, half a width right; height 10 -> 20, width 20 -> 20
    deltas = [1.0, 0.5, math.log(2), 0.0]
    np.testing.assert_allclose(array(boxes.encode(box, anchor)), deltas, atol=1e-7)
    np.testing.assert_allclose(array(boxes.decode(np.array(deltas, "float32"), anchor)), box, atol=1e-5)


def test_decode_bounds_the_size():
    anchor = np.array([0, 0, 16, 16], "float32")
    y1, x1, y2, x2 = array(boxes.decode(np.array([0, 0, 50, 80], "float32"), anchor))
    assert (y2 - y1, x2 - x1) == pytest.approx((1000, 1000), rel=1e-5)


def test_an_empty_box_codes_as_a_finite_number():
    anchor = np.array([0, 0, 10, 10], "float32")
    result = array(boxes.encode(np.zeros(4, "float32"), anchor))
    np.testing.assert_allclose(result, [-0.5, -0.5, math.log(1e-4), math.log(1e-4)], rtol=1e-6)


def test_decode_inverts_encode():
    rng = np.random.default_rng(3)
    wanted, anchors = random_boxes(rng, 200), random_boxes(rng, 200)
    wanted[:, 2:] += 5  # sides within a factor of 62.5 of each other
    anchors[:, 2:] += 5
    np.testing.assert_allclose(array(boxes.decode(boxes.encode(wanted, anchors), anchors)), wanted, atol=2e-4)


def test_offsets_do_not_depend_on_position_and_scale():
    rng = np.random.default_rng(4)
    wanted, anchors = random_boxes(rng, 50), random_boxes(rng, 50)
    shifted = boxes.encode(wanted * 4 + 64, anchors * 4 + 64)
    np.testing.assert_allclose(array(shifted), array(boxes.encode(wanted, anchors)), atol=2e-4)


def test_composed_offsets_by_hand():
    # half a side down, twice as high; then half of the doubled side down: 5 + 10 pixels
    first = np.array([0.5, 0.0, math.log(2), 0.0], "float32")
    second = np.array([0.5, 0.25, 0.0, math.log(3)], "float32")
    np.testing.assert_allclose(array(boxes.compose(first, second)), [1.5, 0.25, math.log(2), math.log(3)], rtol=1e-6)


def test_composed_offsets_do_what_both_do_in_turn():
    rng = np.random.default_rng(5)
    first, second = rng.normal(scale=0.5, size=(2, 100, 4)).astype("float32")
    anchors = random_boxes(rng, 100)
    anchors[:, 2:] += 5
    in_turn = boxes.decode(second, boxes.decode(first, anchors))
    np.testing.assert_allclose(array(boxes.decode(boxes.compose(first, second), anchors)), array(in_turn), atol=1e-3)


def test_limit_by_hand():
    limit = math.log(62.5)
    result = boxes.limit(np.array([[9, -9, 9, -9], [3.9, -3.9, 4.1, -4.1]], "float32"))
    np.testing.assert_allclose(array(result), [[4, -4, limit, -limit], [3.9, -3.9, 4.1, -4.1]], rtol=1e-6)
