import numpy as np
import pytest
from keras import ops

from zip_keras.layers.padding import PadToMultiple


@pytest.mark.parametrize(("size", "expected"), [((32, 64), (32, 64)), ((1, 33), (32, 64)), ((65, 31), (96, 32))])
def test_pads_with_zeros_at_the_bottom_and_right(size, expected):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    layer = PadToMultiple(32)
    result = ops.convert_to_numpy(layer(x))
    assert result.shape == (2, *expected, 3) == layer.compute_output_shape(x.shape)
    np.testing.assert_array_equal(result[:, : size[0], : size[1]], x)
    assert result[:, size[0] :].sum() == result[:, :, size[1] :].sum() == 0
