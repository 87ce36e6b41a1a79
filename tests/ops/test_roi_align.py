"""RoIAlign and RoI max pooling against torchvision's recorded numbers and against loops written from its definition."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from zip_keras.ops import roi_align as roi_ops

STRIDE = 8.0


def boxes_of_every_kind(rng, count=40, height=96.0, width=120.0):
    """Boxes inside, at and across the borders, far outside, without extent, and thinner than a cell."""
    corner = rng.uniform(-20, (height, width), (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 90, (count, 2))], axis=1)
    special = [
        [0, 0, height, width],
        [0, 0, 8, 8],
        [height - 3, width - 3, height, width],
        [-60, -60, -30, -30],
        [height + 20, 10, height + 60, 50],
        [40, 40, 40, 40],
        [10, 20, 12, 100],
        [-9, -9, height + 9, width + 9],
    ]
    return np.concatenate([boxes, special]).astype("float32")


def bilinear(image, y, x):
    """torchvision's `bilinear_interpolate`: 0 beyond one cell outside, the border's value up to there."""
    height, width = image.shape[:2]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(image.shape[2])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = y - y0, x - x0
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    return top * (1 - fy) + (image[y1, x0] * (1 - fx) + image[y1, x1] * fx) * fy


def align_by_loops(image, boxes, size, samples=2):
    image, result = image.astype("float64"), np.zeros((len(boxes), size, size, image.shape[2]))
    for n, box in enumerate(boxes.astype("float64")):
        y1, x1, y2, x2 = box / STRIDE - 0.5
        bin_y, bin_x = (y2 - y1) / size, (x2 - x1) / size
        for p in range(size):
            for q in range(size):
                for i in range(samples):
                    for j in range(samples):
                        y, x = y1 + (p + (i + 0.5) / samples) * bin_y, x1 + (q + (j + 0.5) / samples) * bin_x
                        result[n, p, q] += bilinear(image, y, x) / samples**2
    return result


def pool_by_loops(image, boxes, size):
    height, width = image.shape[:2]
    result = np.zeros((len(boxes), size, size, image.shape[2]))
    for n, box in enumerate(boxes):
        y1, x1, y2, x2 = (int(np.copysign(np.floor(abs(v) + 0.5), v)) for v in box / STRIDE)
        bin_y, bin_x = (
            np.float32(max(y2 - y1 + 1, 1)) / np.float32(size),
            np.float32(max(x2 - x1 + 1, 1)) / np.float32(size),
        )
        for p in range(size):
            for q in range(size):
                rows = slice(*np.clip([int(np.floor(p * bin_y)) + y1, int(np.ceil((p + 1) * bin_y)) + y1], 0, height))
                columns = slice(*np.clip([int(np.floor(q * bin_x)) + x1, int(np.ceil((q + 1) * bin_x)) + x1], 0, width))
                cells = image[rows, columns].reshape(-1, image.shape[2])
                result[n, p, q] = cells.max(axis=0) if len(cells) else 0.0
    return result


@pytest.fixture(scope="module")
def case():
    """Two maps `[2, 12, 15, 3]` and 48 boxes on each."""
    rng = np.random.default_rng(0)
    boxes = np.stack([boxes_of_every_kind(rng), boxes_of_every_kind(rng)])
    return rng.normal(size=(2, 12, 15, 3)).astype("float32"), boxes


@pytest.mark.parametrize("align", [roi_ops.roi_align, roi_ops.roi_align_by_matrices])
@pytest.mark.parametrize("size", [3, 7])
def test_align_equals_loops(case, align, size):
    features, boxes = case
    found = ops.convert_to_numpy(align(features, boxes, STRIDE, size))
    expected = np.stack([align_by_loops(*one, size) for one in zip(features, boxes, strict=True)])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (expected[:, 43] == 0).all()  # the box far outside
    assert np.abs(expected).max() > 1


def test_max_pool_equals_loops(case):
    features, boxes = case
    found = ops.convert_to_numpy(roi_ops.max_pool(features, boxes, STRIDE, 3))
    expected = np.stack([pool_by_loops(*one, 3) for one in zip(features, boxes, strict=True)])
    np.testing.assert_array_equal(found, expected.astype("float32"))


def test_a_ramp_gives_the_centres_of_its_bins():
    """The map's value is the pixel row of a cell's centre, so a bin's mean is the row of the bin's centre."""
    rows = (np.arange(16, dtype="float32") + 0.5) * STRIDE
    features = np.broadcast_to(rows[None, :, None, None], (1, 16, 16, 1))
    found = ops.convert_to_numpy(roi_ops.roi_align(features, np.array([[[16, 24, 80, 56]]], "float32"), STRIDE, 4))
    np.testing.assert_allclose(found[0, 0, :, 0, 0], [24, 40, 56, 72], atol=1e-3)


def test_no_boxes_give_no_regions():
    for pool in (roi_ops.roi_align, roi_ops.roi_align_by_matrices):
        assert pool(np.ones((1, 4, 4, 2), "float32"), np.zeros((1, 0, 4), "float32"), STRIDE, 7).shape == (
            1,
            0,
            7,
            7,
            2,
        )


@pytest.mark.parametrize("pool", [roi_ops.roi_align, roi_ops.roi_align_by_matrices, roi_ops.max_pool])
def test_gradients_reach_the_map_and_not_the_boxes(pool):
    tf = pytest.importorskip("tensorflow")
    features, boxes = tf.Variable(tf.random.normal((1, 6, 6, 2), seed=1)), tf.Variable([[[5.0, 6.0, 40.0, 30.0]]])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(pool(features, boxes, STRIDE, 2) ** 2)
    of_map, of_boxes = tape.gradient(value, [features, boxes])
    assert np.abs(tf.convert_to_tensor(of_map)).max() > 0
    assert of_boxes is None


def test_torchvisions_recorded_numbers():
    """The file says how it was made."""
    with np.load(Path(__file__).with_name("torchvision_roi.npz")) as recorded:
        features, boxes = recorded["features"], recorded["boxes"]
        for align in (roi_ops.roi_align, roi_ops.roi_align_by_matrices):
            found = ops.convert_to_numpy(align(features, boxes, STRIDE, 7))
            np.testing.assert_allclose(found, recorded["align"], atol=1e-4)
        np.testing.assert_array_equal(
            ops.convert_to_numpy(roi_ops.max_pool(features, boxes, STRIDE, 7)), recorded["pool"]
        )
