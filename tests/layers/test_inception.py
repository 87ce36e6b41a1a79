import numpy as np
import pytest
from keras import ops

from zip_keras.backbones.inception_bn import ROWS
from zip_keras.layers.convolution import ConvNorm, batch_normalisation
from zip_keras.layers.inception import AveragePooling, Inception, scale_width


def array(x):
    return ops.convert_to_numpy(x)


def test_table_of_the_paper():
    """Output widths of docs/method.md (Zoom-out backbone), from the input of 3a on."""
    widths, x = {}, 192
    for name, row in ROWS.items():
        widths[name] = x = row.output_width(x)
    assert widths == {
        **{"3a": 256, "3b": 320, "3c": 576, "4a": 576, "4b": 576, "4c": 608, "4d": 608},
        **{"4e": 1056, "5a": 1024, "5b": 1024},
    }
    assert [name for name, row in ROWS.items() if row.stride == 2] == ["3c", "4e"]
    assert [name for name, row in ROWS.items() if row.pool == "max"] == ["3c", "4e", "5b"]


@pytest.mark.parametrize(("name", "width", "branches"), [("4e", 608, (192, 256, 160)), ("3c", 320, (160, 96, 64))])
def test_upsampling_mirror_fills_the_width(name, width, branches):
    mirror = ROWS[name].upsampling_mirror(width)
    assert (mirror.three[1], mirror.double[2], mirror.projection) == branches
    assert (mirror.one, mirror.stride, mirror.output_width(1024)) == (0, -2, width)


def test_what_cannot_be_mirrored():
    with pytest.raises(ValueError, match="4d"):
        ROWS["4d"].upsampling_mirror(608)
    with pytest.raises(ValueError, match="448"):
        ROWS["4e"].upsampling_mirror(448)  # 192 + 256 leave nothing for the projection


@pytest.mark.parametrize(
    ("width", "factor", "expected"),
    [(0, 0.5, 0), (64, 1, 64), (64, 0.5, 32), (96, 0.125, 16), (32, 0.01, 8), (352, 0.25, 88)],
)
def test_scaled_widths_are_multiples_of_eight(width, factor, expected):
    assert scale_width(width, factor) == expected


def test_border_of_the_average_pool():
    ones = np.ones((1, 3, 3, 1), "float32")
    counted, ignored = array(AveragePooling("count")(ones))[0, ..., 0], array(AveragePooling("ignore")(ones))[0, ..., 0]
    np.testing.assert_allclose(counted, np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9)
    np.testing.assert_allclose(ignored, 1)
    with pytest.raises(ValueError, match="'same'"):
        AveragePooling("same")


def identity_kernel(size):
    kernel = np.zeros((size, size, 1, 1), "float32")
    kernel[size // 2, size // 2] = 1
    return kernel


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (7, 2), (1, 1)])
def test_a_strided_convolution_starts_at_the_first_place(kernel, stride, size):
    """Caffe's and PyTorch's symmetric padding: "same" would start at the second place where the size is even."""
    x = np.random.default_rng(0).uniform(0.1, 1, (1, *size, 1)).astype("float32")
    layer = ConvNorm(1, kernel, stride)
    layer.build(x.shape)
    layer.convolution.kernel.assign(identity_kernel(kernel))
    result = array(layer(x)) * np.sqrt(1 + 1e-5)  # batch norm: mean 0, variance 1, epsilon 1e-5
    np.testing.assert_allclose(result, x[:, ::stride, ::stride], rtol=1e-6)
    assert layer.compute_output_shape(x.shape) == result.shape


@pytest.mark.parametrize(("mode", "trainable"), [("frozen", False), ("synchronized", True), ("local", True)])
def test_batch_norm_modes(mode, trainable):
    layer = ConvNorm(4, 1, batch_norm=mode)
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 3)).astype("float32")
    layer(x)
    before = array(layer.normalisation.moving_mean).copy()
    layer(x, training=True)
    assert (np.abs(array(layer.normalisation.moving_mean) - before).max() > 0) == trainable
    assert len(layer.trainable_variables) == (3 if trainable else 1)  # kernel, scale, shift


def test_an_unknown_batch_norm_is_refused():
    with pytest.raises(ValueError, match="'frozen', 'synchronized' or 'local', not 'none'"):
        batch_normalisation("none", "bn")


def test_a_block_is_its_branches_side_by_side():
    """The branches of docs/method.md (Zoom-out backbone), composed here from the block's own convolutions."""
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 16)).astype("float32")
    block = Inception(ROWS["3a"].scaled(0.125))
    result = array(block(x))
    c = block.convolutions()
    expected = [
        c["one"](x),
        c["three"](c["three_reduce"](x)),
        c["double_second"](c["double_first"](c["double_reduce"](x))),
        c["projection"](AveragePooling()(x)),
    ]
    np.testing.assert_array_equal(result, np.concatenate([array(branch) for branch in expected], axis=-1))


@pytest.mark.parametrize("kind", ["bilinear", "deconv"])
@pytest.mark.parametrize("name", ["3a", "3c", "5b", "3c mirror"])
def test_sizes_and_widths_of_a_block(name, kind):
    row = ROWS[name[:2]].scaled(0.125)
    if "mirror" in name:
        row = row.upsampling_mirror(48)
    block = Inception(row, upsampling_kind=kind)
    x = np.ones((2, 4, 6, 24), "float32")
    height, width = {1: (4, 6), 2: (2, 3), -2: (8, 12)}[row.stride]
    result = block(x)
    assert tuple(result.shape) == (2, height, width, row.output_width(24)) == block.compute_output_shape(x.shape)
    deconvolutions = sum("double_size" in variable.path for variable in block.trainable_variables)
    assert deconvolutions == (6 if "mirror" in name and kind == "deconv" else 0)


def test_a_reduction_passes_its_pool_through():
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 5)).astype("float32")
    result = array(Inception(ROWS["3c"].scaled(0.125))(x))[0, ..., -5:]
    expected = [[x[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(0, 1)) for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(result, expected)  # windows start at 0, 2 and end at the border: Caffe's ceil mode
