import numpy as np
import pytest
from keras import ops

from zip_keras.config import AnchorConfig
from zip_keras.ops.anchors import anchor_shapes, anchors_of_image, level_sizes, place_anchors


def array(x):
    return ops.convert_to_numpy(x)


def test_shapes_by_hand():
    # area 16 * 16; ratio = height / width
    np.testing.assert_allclose(anchor_shapes([16], [0.25, 1.0, 4.0]), [[8, 32], [16, 16], [32, 8]])


def test_shapes_come_scale_by_scale():
    np.testing.assert_allclose(anchor_shapes([16, 32], [1.0, 4.0]), [[16, 16], [32, 8], [32, 32], [64, 16]])


def test_the_paper_has_ten_anchors_of_every_level():
    config = AnchorConfig()
    assert config.scales == ((16, 32), (64, 128), (256, 512))
    assert config.ratios == (0.25, 0.5, 1, 2, 4)
    for scales in config.scales:
        shapes = anchor_shapes(scales, config.ratios)
        np.testing.assert_allclose(shapes.prod(axis=1), np.repeat(np.square(scales), 5), rtol=1e-6)
        np.testing.assert_allclose(shapes[:, 0] / shapes[:, 1], config.ratios * 2, rtol=1e-6)


def test_anchor_at_origin_has_the_requested_area_and_ratio():
    y1, x1, y2, x2 = array(place_anchors(1, 1, 8, [16], [0.25]))[0]
    assert (y2 - y1, x2 - x1) == pytest.approx((8.0, 32.0))
    assert ((y1 + y2) / 2, (x1 + x2) / 2) == pytest.approx((4.0, 4.0))  # centre of the first cell
    assert (y1, x1, y2, x2) == pytest.approx((0.0, -12.0, 8.0, 20.0))  # anchors may leave the image


def test_order_is_row_column_anchor():
    anchors = array(place_anchors(2, 3, 8, [16, 32], [1.0]))
    assert anchors.shape == (12, 4)
    # row 1, column 2, second anchor: centre (12, 20), side 32
    np.testing.assert_allclose(anchors[(1 * 3 + 2) * 2 + 1], [-4, 4, 28, 36])
    np.testing.assert_allclose(anchors[2], [4 - 8, 12 - 8, 4 + 8, 12 + 8])  # row 0, column 1, first anchor


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 96), [(8, 12), (4, 6), (2, 3)]),
        ((33, 1), [(8, 4), (4, 2), (2, 1)]),  # padded to 64 x 32
        ((600, 800), [(76, 100), (38, 50), (19, 25)]),  # padded to 608 x 800
    ],
)
def test_level_sizes_by_hand(size, expected):
    assert level_sizes(*size) == expected
    counts = [rows * columns * 10 for rows, columns in expected]
    assert [len(level) for level in anchors_of_image(*size, AnchorConfig())] == counts


def test_sizes_may_be_unknown_until_run_time():
    tf = pytest.importorskip("tensorflow")
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def anchors_in_graph(images):
        traces.append(images)
        _, height, width, _ = ops.shape(images)
        return anchors_of_image(height, width, AnchorConfig())

    for height, width in ((64, 96), (33, 1), (101, 67)):
        for one, other in zip(
            anchors_in_graph(tf.zeros((1, height, width, 3))),
            anchors_of_image(height, width, AnchorConfig()),
            strict=True,
        ):
            np.testing.assert_array_equal(one.numpy(), array(other))
    assert len(traces) == 1
