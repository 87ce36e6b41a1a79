import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.layers.attention import MapDecision, SqueezeExcitation, merge_level


def array(x):
    return ops.convert_to_numpy(x)


def realistic_f3(rng, size=(12, 16), channels=1024):
    """Like the output of ReLU and batch norm: half of it 0, the rest near 1."""
    return np.maximum(rng.normal(size=(2, *size, channels)), 0).astype("float32")


@pytest.mark.parametrize(("channels", "millions"), [(640, 13.3), (1216, 37.8)])
def test_weights_of_the_paper(channels, millions):
    layer = MapDecision(channels)
    layer.build((None, None, None, 1024))
    assert layer.count_params() / 1e6 == pytest.approx(millions, abs=0.05)
    kernels = 9 * (1024 * channels + 2 * channels * channels)
    assert layer.count_params() == kernels + 3 * channels


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("normalisation", [False, True])
@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("output", ["linear", "sigmoid", "softplus"])
def test_mu_starts_near_one(output, activation, normalisation, spatial):
    layer = MapDecision(96, output=output, activation=activation, normalisation=normalisation, spatial=spatial)
    mu = array(layer(realistic_f3(np.random.default_rng(0), channels=256)))
    assert mu.shape == ((2, 12, 16, 96) if spatial else (2, 1, 1, 96))
    assert np.abs(mu - 1).max() < 0.1
    assert mu.std() > 1e-4  # and yet it depends on the image


def test_mu_starts_near_one_at_full_width():
    """1,216 channels summed over 9 x 1,216 inputs, and the largest of 475 places."""
    mu = array(MapDecision(1216)(realistic_f3(np.random.default_rng(0), size=(19, 25))[:1]))
    assert np.abs(mu - 1).max() < 0.1


def test_mu_is_the_largest_decision_anywhere():
    x = realistic_f3(np.random.default_rng(1), channels=16)
    pooled, spatial = MapDecision(24, hidden=8), MapDecision(24, hidden=8, spatial=True)
    pooled.build(x.shape)
    spatial.build(x.shape)
    spatial.set_weights(pooled.get_weights())
    np.testing.assert_allclose(array(pooled(x)), array(spatial(x)).max(axis=(1, 2), keepdims=True), rtol=1e-6)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match=r"output .* not 'tanh'"):
        MapDecision(8, output="tanh")
    with pytest.raises(ValueError, match=r"activation .* not 'gelu'"):
        MapDecision(8, activation="gelu")
    with pytest.raises(ValueError, match=r"merge .* not 'sum'"):
        build("sum", 1)


def build(merge, level, **options):
    """A model of [F, H, F3] with 16 channels each in F and H; the level is 4 or 2 times F3."""
    inputs = [keras.Input((None, None, channels)) for channels in (16, 16, 32)]
    return keras.Model(inputs, merge_level(level, *inputs, merge=merge, **options))


def maps(level, rng=None, size=(2, 3)):
    rng = rng or np.random.default_rng(2)
    scale = {1: 4, 2: 2}[level]
    shapes = [(2, scale * size[0], scale * size[1], 16)] * 2 + [(2, *size, 32)]
    return [np.maximum(rng.normal(size=shape), 0).astype("float32") for shape in shapes]


MERGES = ["mad", "spatial_mad", "se", "conv", "add"]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("merge", MERGES)
def test_a_merge_starts_near_plain_concatenation(merge, level):
    x = maps(level)
    result = array(build(merge, level)(x))
    if merge == "add":
        assert result.shape == x[0].shape
        return
    both = np.concatenate(x[:2], axis=-1)
    assert result.shape == both.shape
    assert np.abs(result - both).max() <= (0 if merge == "conv" else 0.1 * np.abs(both).max())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes gradients with TensorFlow")
@pytest.mark.parametrize("options", [{}, {"normalisation": True, "output": "sigmoid"}], ids=str)
@pytest.mark.parametrize("merge", ["mad", "spatial_mad", "se", "add"])
def test_gradients_reach_every_variable(merge, options):
    import tensorflow as tf

    keras.utils.set_random_seed(0)  # once in a thousand draws all eight rectified units are dead

    model = build(merge, 1, **(options if "mad" in merge else {}))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(maps(1), training=True) ** 3)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == {"mad": 6, "spatial_mad": 6, "se": 4, "add": 4}[merge] + (
        4 if options and "mad" in merge else 0
    )
    before_norm = ("convolution_1/bias", "convolution_2/bias") if options and "mad" in merge else ()
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if not variable.path.endswith(before_norm):  # a batch norm takes a bias before it away
            assert np.abs(gradient.numpy()).max() > 1e-6, variable.path


def test_add_is_the_sum_of_two_projections():
    model = build("add", 2)
    f, h, f3 = maps(2)
    kernels = [array(model.get_layer(f"merge_2_{side}").kernel)[0, 0] for side in ("zoom_out", "zoom_in")]
    np.testing.assert_allclose(array(model([f, h, f3])), f @ kernels[0] + h @ kernels[1], atol=1e-5)


@pytest.mark.parametrize("merge", MERGES)
def test_more_sources_follow_the_two(merge):
    """Extension E: lambda maps, and one number of mu for each of their channels."""
    level, (f, h, f3) = 1, maps(1)
    third, fourth = (np.random.default_rng(seed).uniform(size=(2, 8, 12, 8)).astype("float32") for seed in (5, 6))
    inputs = [keras.Input(x.shape[1:]) for x in (f, h, f3, third, fourth)]
    model = keras.Model(inputs, merge_level(level, *inputs[:3], merge=merge, more=inputs[3:]))
    result = array(model([f, h, f3, third, fourth]))
    if merge == "add":
        sides = {"zoom_out": f, "zoom_in": h, "more_1": third, "more_2": fourth}
        kernels = {side: array(model.get_layer(f"merge_1_{side}").kernel)[0, 0] for side in sides}
        np.testing.assert_allclose(result, sum(x @ kernels[side] for side, x in sides.items()), atol=1e-5)
        return
    together = np.concatenate([f, h, third, fourth], axis=-1)
    assert result.shape == together.shape == (2, 8, 12, 16 + 16 + 8 + 8)
    np.testing.assert_allclose(result, together, atol=0 if merge == "conv" else 0.3)


def exact(layer, shape):
    """Eighths as weights, so that sums of products with whole numbers are exact in any order."""
    layer.build(shape)
    rng = np.random.default_rng(4)
    layer.set_weights([rng.integers(-8, 8, w.shape) / 8 for w in layer.get_weights()])
    return layer


def padded_map(size, to, channels=16):
    """Whole numbers, in a larger map full of others; and which cells are valid."""
    rng = np.random.default_rng(5)
    x = rng.integers(-4, 8, (1, *to, channels)).astype("float32")
    x[:, size[0] :] *= 100
    x[:, :, size[1] :] *= 100
    valid = np.zeros((1, *to, 1), "float32")
    valid[:, : size[0], : size[1]] = 1
    return x, valid


@pytest.mark.parametrize(("size", "to"), [((5, 7), (9, 8)), ((1, 1), (2, 3)), ((3, 4), (3, 4))])
@pytest.mark.parametrize("options", [{}, {"spatial": True}, {"activation": "linear"}], ids=str)
def test_mu_of_a_padded_map_is_that_of_the_map(options, size, to):
    x, valid = padded_map(size, to)
    layer = exact(MapDecision(24, hidden=8, **options), x.shape)
    alone = array(layer(x[:, : size[0], : size[1]]))
    padded = array(layer(x, valid=valid))
    if "spatial" in options:
        padded = padded[:, : size[0], : size[1]]
    np.testing.assert_array_equal(padded, alone)
    if size != to and "spatial" not in options:
        assert (array(layer(x)) != alone).any()  # the padding would have been seen


@pytest.mark.parametrize(("size", "to"), [((5, 7), (9, 8)), ((1, 1), (2, 3)), ((3, 4), (3, 4))])
def test_se_of_a_padded_map_is_that_of_the_map(size, to):
    x, valid = padded_map(size, to)
    layer = exact(SqueezeExcitation(2), x.shape)
    alone = x[:, : size[0], : size[1]]
    padded = array(layer(x, valid=valid))[:, : size[0], : size[1]]
    np.testing.assert_array_equal(padded, array(layer(alone, valid=np.ones_like(alone[..., :1]))))
    np.testing.assert_allclose(padded, array(layer(alone)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_padding_in_low_precision(dtype):
    x = np.full((1, 64, 64, 16), 100.0, "float32")  # whose sum float16 cannot hold
    valid = np.ones_like(x[..., :1])
    valid[:, 40:] = 0
    se, mad = SqueezeExcitation(dtype=dtype), MapDecision(8, hidden=8, dtype=dtype)
    x, valid = (ops.cast(a, se.compute_dtype) for a in (x, valid))
    for result in (se(x, valid=valid), mad(x, valid=valid)):
        assert np.isfinite(array(ops.cast(result, "float32"))).all()


def test_se_decides_from_the_map_itself():
    layer = SqueezeExcitation()
    x = np.random.default_rng(3).normal(size=(2, 3, 4, 32)).astype("float32")
    result = array(layer(x))
    weights = result / x
    assert np.ptp(weights, axis=(1, 2)).max() < 1e-4  # one number a channel and image
    assert np.abs(weights - 1).max() < 0.1


def test_hidden_width_makes_mad_smaller():
    assert build("mad", 1, hidden_width=0.25).count_params() == 9 * (32 * 8 + 8 * 8 + 8 * 32) + 8 + 8 + 32
