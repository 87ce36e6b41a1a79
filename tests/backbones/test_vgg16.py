import keras
import numpy as np

from zip_keras.backbones import get_backbone
from zip_keras.config import ModelConfig


def test_it_is_that_of_keras_applications():
    """Names and shapes of all weights, so that a file of Keras fits; maps at strides 8, 16 and 32; pixels as there."""
    image = keras.Input((None, None, 3))
    backbone = get_backbone("vgg16")
    ours = keras.Model(image, backbone.build(image, ModelConfig(backbone="vgg16")).maps)
    theirs = keras.applications.VGG16(include_top=False, weights=None)
    assert {v.path: v.shape for v in ours.variables} == {v.path: v.shape for v in theirs.variables}
    assert list(ours.compute_output_shape((1, 64, 96, 3))) == [(1, 8, 12, 512), (1, 4, 6, 512), (1, 2, 3, 512)]
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 3)).astype("float32")
    prepared = (pixels - backbone.mean) / backbone.scale
    expected = keras.applications.vgg16.preprocess_input(pixels.copy())
    np.testing.assert_allclose(prepared[..., ::-1], expected, atol=1e-4)
