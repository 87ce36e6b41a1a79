import numpy as np
import pytest
from keras import ops

from zip_keras.layers.padding import PadToMultiple, ValidCells
from zip_keras.pixels import PADDING


@pytest.mark.parametrize(("size", "expected"), [((32, 64), (32, 64)), ((1, 33), (32, 64)), ((65, 31), (96, 32))])
@pytest.mark.parametrize("value", [0.0, PADDING])
def test_pads_at_the_bottom_and_right(size, expected, value):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    layer = PadToMultiple(32, value)
    result = ops.convert_to_numpy(layer(x))
    assert result.shape == (2, *expected, 3) == layer.compute_output_shape(x.shape)
    np.testing.assert_array_equal(result[:, : size[0], : size[1]], x)
    assert (result[:, size[0] :] == value).all()
    assert (result[:, :, size[1] :] == value).all()


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (8, [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),  # 9 rows reach into two cells, 17 columns into 3
        (16, [[1, 1], [0, 0]]),
        (32, [[1]]),
    ],
)
def test_cells_that_show_a_part_of_the_image_by_hand(stride, expected):
    images = np.full((2, 32, 32, 3), PADDING, "float32")
    images[0, :9, :17] = 0  # black is no padding
    images[1, :1, :1] = 255  # one pixel
    layer = ValidCells(stride)
    result = ops.convert_to_numpy(layer(images))
    assert result.shape == (2, 32 // stride, 32 // stride, 1) == layer.compute_output_shape(images.shape)
    np.testing.assert_array_equal(result[0, :, :, 0], expected)
    assert result[1].sum() == result[1, 0, 0, 0] == 1


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_pixels_are_told_from_padding_in_low_precision(dtype):
    images = np.array([0.0, 255.0, PADDING], "float32").reshape(1, 1, 3, 1) * np.ones((1, 1, 1, 3), "float32")
    assert ops.convert_to_numpy(ops.cast(ValidCells(1, dtype=dtype)(images), "float32")).ravel().tolist() == [1, 1, 0]
