"""Every registered layer goes through build, config, `.keras` file and mixed precision, and leaves as it came."""

import keras
import numpy as np
import pytest
from keras import ops

import zip_keras.models.proposer  # noqa: F401  (registers every class of the network)
from zip_keras.backbones.base import Preprocessing
from zip_keras.backbones.inception_bn import ROWS
from zip_keras.layers.attention import MapDecision, SqueezeExcitation
from zip_keras.layers.bottleneck import Bottleneck
from zip_keras.layers.convolution import ConvNorm
from zip_keras.layers.inception import AveragePooling, Inception
from zip_keras.layers.inverted_bottleneck import InvertedBottleneck, MobileConvNorm
from zip_keras.layers.padding import PadToMultiple, ValidCells
from zip_keras.layers.registry import PACKAGE
from zip_keras.layers.resizing import ShortSideResizing
from zip_keras.layers.roi_head import RoIHead
from zip_keras.layers.rpn_head import RefiningRPNHead, RPNHead
from zip_keras.layers.shuffle import (
    BiasedConvolution,
    ChannelGate,
    CrossStageBlock,
    MaxPooling,
    NearestUpsampling,
    ShuffleBlock,
    ShuffleReduction,
)
from zip_keras.layers.upsampling import BilinearUpsampling
from zip_keras.pixels import PADDING

REDUCTION = ROWS["3c"].scaled(0.125)

# name -> (what makes the layer, channels that enter it)
CASES = {
    "upsampling": (lambda **options: BilinearUpsampling(**options), 4),
    "padding": (lambda **options: PadToMultiple(8, -1.0, **options), 4),
    "valid cells": (lambda **options: ValidCells(2, **options), 3),
    "average pool": (lambda **options: AveragePooling("ignore", **options), 4),
    "convolution": (lambda **options: ConvNorm(6, 3, batch_norm="local", **options), 4),
    "strided convolution": (lambda **options: ConvNorm(6, 7, 2, batch_norm="frozen", **options), 4),
    "inception": (lambda **options: Inception(ROWS["5b"].scaled(0.125), pool_border="ignore", **options), 16),
    "reduction": (lambda **options: Inception(REDUCTION, batch_norm="frozen", **options), 16),
    "up-sampling inception": (lambda **options: Inception(REDUCTION.upsampling_mirror(48), **options), 16),
    "deconv inception": (
        lambda **options: Inception(REDUCTION.upsampling_mirror(48), upsampling_kind="deconv", **options),
        16,
    ),
    "mobile convolution": (lambda **options: MobileConvNorm(6, 3, 2, activation="linear", **options), 4),
    "depthwise convolution": (lambda **options: MobileConvNorm(0, 5, **options), 4),
    "inverted bottleneck": (lambda **options: InvertedBottleneck(4, batch_norm="frozen", **options), 4),
    "biased convolution": (lambda **options: BiasedConvolution(6, 3, 2, **options), 4),
    "biased depthwise convolution": (lambda **options: BiasedConvolution(0, 5, activation="linear", **options), 4),
    "max pool": (lambda **options: MaxPooling(**options), 4),
    "gate": (lambda **options: ChannelGate(**options), 8),
    "shuffle block": (lambda **options: ShuffleBlock(8, 6, **options), 8),
    "shuffle reduction": (lambda **options: ShuffleReduction(8, 6, **options), 4),
    "cross-stage block": (lambda **options: CrossStageBlock(6, **options), 4),
    "nearest up-sampling": (lambda **options: NearestUpsampling(**options), 4),
    "bottleneck": (lambda **options: Bottleneck(8, 2, normalise="local", **options), 4),
    "group bottleneck": (lambda **options: Bottleneck(16, normalise="group", **options), 16),
    "mad": (lambda **options: MapDecision(12, hidden=8, **options), 16),
    "normalised mad": (
        lambda **options: MapDecision(12, normalisation=True, output="softplus", activation="linear", **options),
        16,
    ),
    "spatial mad": (lambda **options: MapDecision(12, spatial=True, output="sigmoid", **options), 16),
    "se": (lambda **options: SqueezeExcitation(4, **options), 16),
    "head": (lambda **options: RPNHead(10, 3, channels=8, **options), 16),
    "head with quality": (lambda **options: RPNHead(10, 3, channels=8, quality=True, **options), 16),
    "recursive head": (lambda **options: RefiningRPNHead(10, 3, channels=8, steps=2, **options), 16),
    "preprocessing": (lambda **options: Preprocessing((128, 117, 104), (2, 3, 4), bgr=True, **options), 3),
    "resizing": (lambda **options: ShortSideResizing(12, 20, **options), 3),
}
FLOAT32 = (
    "head",
    "head with quality",
    "recursive head",
    "resizing",
)  # whose output is float32 whatever the compute type
every_layer = pytest.mark.parametrize(("make", "channels"), CASES.values(), ids=CASES)


def numbers(channels):
    return np.random.default_rng(0).uniform(0, 2, (2, 6, 8, channels)).astype("float32")


def randomised(layer):
    """Fills the weights with numbers that no initialiser makes."""
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.1, 0.5, w.shape).astype("float32") for w in layer.get_weights()])
    return layer


def arrays(outputs):
    return [ops.convert_to_numpy(ops.cast(x, "float32")) for x in keras.tree.flatten(outputs)]


def assert_equal(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_registered_layer_is_forgotten():
    """The RoI head has several inputs: tests/models/test_detectors.py."""
    registered = {
        cls
        for name, cls in keras.saving.get_custom_objects().items()
        if name.startswith(f"{PACKAGE}>") and issubclass(cls, keras.layers.Layer) and not issubclass(cls, keras.Model)
    }
    from_layers = {
        cls for cls in registered if cls.__module__.startswith(("zip_keras.layers.", "zip_keras.backbones.base"))
    }
    assert from_layers - {RoIHead} == {type(make()) for make, _ in CASES.values()}


@every_layer
def test_symbolic_shapes_are_those_of_numbers(make, channels):
    layer, x = make(), numbers(channels)
    known = keras.tree.flatten(layer(keras.Input(x.shape[1:])))
    unknown = keras.tree.flatten(layer(keras.Input((None, None, channels))))
    for real, with_size, without in zip(keras.tree.flatten(layer(x)), known, unknown, strict=True):
        for stated in (with_size.shape, without.shape):
            assert len(stated) == len(real.shape)
            assert all(side in (None, there) for side, there in zip(stated, real.shape, strict=True))
        if len(real.shape) > 2:  # else the last axis counts anchors, whose number depends on the size
            assert without.shape[-1] == real.shape[-1]
        assert keras.backend.standardize_dtype(real.dtype) == with_size.dtype


@every_layer
def test_config_makes_the_same_layer(make, channels):
    layer, x = make(name="mine"), numbers(channels)
    layer(x)
    randomised(layer)
    copy = type(layer).from_config(layer.get_config())
    copy(x)
    assert copy.get_config() == layer.get_config()
    assert [v.path for v in copy.variables] == [v.path for v in layer.variables]
    copy.set_weights(layer.get_weights())
    assert_equal(copy(x), layer(x))


@every_layer
def test_a_keras_file_makes_the_same_model(make, channels, tmp_path):
    image = keras.Input((None, None, channels))
    model = keras.Model(image, make()(image))
    randomised(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = numbers(channels)
    assert_equal(loaded(x), model(x))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


@pytest.mark.parametrize("name", CASES)
def test_mixed_precision_computes_low_and_keeps_weights_high(name):
    make, channels = CASES[name]
    low, high, x = make(dtype="mixed_bfloat16"), make(), numbers(channels)
    outputs = low(x)
    high(x)
    randomised(high)
    low.set_weights(high.get_weights())
    outputs = keras.tree.flatten(low(x))
    expected = "float32" if name in FLOAT32 else "bfloat16"
    assert {keras.backend.standardize_dtype(y.dtype) for y in outputs} == {expected}
    assert {v.dtype for v in low.variables} <= {"float32"}
    last = ("score", "deltas", "iou", "refined_score", "refined_deltas")
    inner = [layer for layer in low._flatten_layers(include_self=False) if layer.name not in last]
    assert {layer.dtype_policy.name for layer in inner} <= {"mixed_bfloat16"}
    for one, other in zip(arrays(outputs), arrays(high(x)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.05, atol=0.02 * np.abs(other).max())


def test_padding_becomes_zero():
    layer = Preprocessing((128.0, 117.0, 104.0), (2.0, 3.0, 4.0), bgr=True)
    image = np.array([[130.0, 117.0, 104.0], [PADDING] * 3], "float32").reshape(1, 2, 1, 3)
    np.testing.assert_array_equal(arrays(layer(image))[0][0, :, 0], [[0, 0, 1], [0, 0, 0]])


def test_pixels_are_not_rounded_before_the_mean_is_gone():
    layer = Preprocessing((128.0, 128.0, 128.0), dtype="mixed_bfloat16")
    result = layer(np.full((1, 1, 1, 3), 130.3, "float32"))  # bfloat16 knows 130 and 131
    np.testing.assert_allclose(arrays(result)[0], 2.3, atol=0.01)
