import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.layers.upsampling import BilinearUpsampling, upsampling


def doubled(x):
    return ops.convert_to_numpy(BilinearUpsampling()(x))


def test_by_hand():
    x = np.array([0, 4], "float32").reshape(1, 1, 2, 1)
    expected = [0, 1, 3, 4]  # half-pixel centres: 3/4 of a place and 1/4 of its neighbour; edges repeat
    np.testing.assert_allclose(doubled(x)[0, :, :, 0], [expected, expected])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 7), (8, 8)])
def test_equals_tensorflows_resize(size):
    tf = pytest.importorskip("tensorflow")
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    expected = tf.image.resize(x, (2 * size[0], 2 * size[1]), method="bilinear").numpy()
    np.testing.assert_allclose(doubled(x), expected, atol=1e-6)


def test_sizes_may_be_unknown_until_run_time():
    tf = pytest.importorskip("tensorflow")
    layer = BilinearUpsampling()
    in_graph = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2])])
    for size in ((1, 3), (5, 2)):
        x = np.random.default_rng(1).normal(size=(2, *size, 2)).astype("float32")
        np.testing.assert_array_equal(in_graph(x).numpy(), doubled(x))
    assert in_graph.experimental_get_tracing_count() == 1
    assert layer(keras.Input((None, None, 2))).shape == (None, None, None, 2)
    assert layer(keras.Input((4, None, 2))).shape == (None, 8, None, 2)


def test_deconv_doubles_and_learns():
    layer = upsampling("deconv", 5, "up")
    assert layer(np.zeros((1, 3, 4, 5), "float32")).shape == (1, 6, 8, 5)
    assert len(layer.trainable_variables) == 2


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'bilinear' or 'deconv', not 'nearest'"):
        upsampling("nearest", 4, "up")
