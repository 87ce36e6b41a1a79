"""The resize that other runtimes run is TensorFlow's."""

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.layers.resizing import ShortSideResizing
from zip_keras.ops.converting import converting
from zip_keras.ops.resampling import resize_by_matrices, resizing_weights


def test_weights_by_hand():
    np.testing.assert_allclose(resizing_weights(4, 2), [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]], rtol=1e-6)
    np.testing.assert_allclose(resizing_weights(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow resizes")
@pytest.mark.parametrize(("height", "width"), [(20, 31), (97, 131), (61, 7), (150, 140)])
def test_both_resizes_agree(height, width):
    import tensorflow as tf

    images = np.random.default_rng(0).uniform(0, 255, (2, 60, 83, 3)).astype("float32")
    expected = tf.image.resize(images, (height, width), antialias=True).numpy()
    np.testing.assert_allclose(ops.convert_to_numpy(resize_by_matrices(images, height, width)), expected, atol=0.02)


def test_the_layer_takes_it_while_a_graph_is_converted():
    images = np.random.default_rng(0).uniform(0, 255, (1, 60, 83, 3)).astype("float32")
    with converting("litert"):
        found = ops.convert_to_numpy(ShortSideResizing(32, 64)(images))
    assert found.shape == (1, 32, 44, 3)
    np.testing.assert_allclose(found, ops.convert_to_numpy(resize_by_matrices(images, 32, 44)), atol=1e-4)
