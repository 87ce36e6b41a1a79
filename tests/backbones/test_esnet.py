"""ESNet-S and PicoDet-S: their blocks by hand, then equality with ONNX Runtime on the public file."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as numpy_of
from pytorch_oracle import padded

from zip_keras.backbones import get_backbone
from zip_keras.backbones.base import Preprocessing
from zip_keras.cli import main
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError
from zip_keras.layers.shuffle import (
    BiasedConvolution,
    ChannelGate,
    CrossStageBlock,
    MaxPooling,
    NearestUpsampling,
    ShuffleBlock,
    ShuffleReduction,
)
from zip_keras.models.one_stage import OneStageNetwork
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.training.classifier_start import start_classes
from zip_keras.weights.npz import load_weights
from zip_keras.weights.onnx import OnnxConvolution
from zip_keras.weights.onnx_conversion import SOURCES, convert_convolutions

NAME = "esnet_s"
TAPS = {
    "esnet_s": (
        "reshape2_3.tmp_0",
        "reshape2_15.tmp_0",
        "reshape2_19.tmp_0",
    ),  # what enters the neck's 1x1 convolutions
    "picodet_s": ("hardswish_38.tmp_0", "hardswish_42.tmp_0", "hardswish_46.tmp_0"),  # and each level's last layer
}
TOLERANCE = 1e-4


def backbone_model(name: str = NAME) -> keras.Model:
    """RGB 0..255, sides multiples of 32, to F1, F2, F3."""
    backbone = get_backbone(name)
    image = keras.Input((None, None, 3))
    x = Preprocessing(backbone.mean, backbone.scale, backbone.bgr)(image)
    return keras.Model(image, backbone.build(x, ModelConfig(backbone=name)).maps)


@pytest.fixture(scope="module")
def convolutions():
    """Random convolutions of the right shapes in the file's order: tests of refusals need no file."""
    random = np.random.default_rng(0)
    built = get_backbone(NAME).build(keras.Input((None, None, 3)), ModelConfig(backbone=NAME))
    result = []
    for number, layer in enumerate(SOURCES[NAME](built.layers)):
        height, width, inputs, outputs = layer.kernel.shape
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        shape = (inputs, 1, height, width) if depthwise else (outputs, inputs, height, width)
        weight = random.normal(size=shape).astype("float32")
        result.append(OnnxConvolution(f"c{number}", weight, weight[:, 0, 0, 0].copy()))
    return result


def test_strides_and_widths():
    shapes = backbone_model().compute_output_shape((1, 96, 160, 3))
    assert [tuple(shape) for shape in shapes] == [(1, 12, 20, 96), (1, 6, 10, 192), (1, 3, 5, 384)]


def test_a_shuffle_block_keeps_every_second_channel():
    block = ShuffleBlock(4, hidden=6)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")
    y = numpy_of(block(x))
    np.testing.assert_array_equal(y[..., 0::2], x[..., :2])
    assert not np.isclose(y[..., 1::2], x[..., 2:]).any()


def test_the_strided_convolution_starts_outside():
    """3x3 ones on an image of ones: the padding is symmetric, so the corner sees 4 pixels, the others 6 and 9."""
    conv = BiasedConvolution(1, 3, 2, activation="linear")
    x = np.ones((1, 4, 4, 1), "float32")
    conv(x)
    conv.convolution.kernel.assign(np.ones((3, 3, 1, 1)))
    np.testing.assert_array_equal(numpy_of(conv(x))[0, :, :, 0], [[4, 6], [6, 9]])


def test_upsampling_repeats_rows_and_columns():
    x = np.array([[1.0, 2.0], [3.0, 4.0]], "float32").reshape(1, 2, 2, 1)
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    np.testing.assert_array_equal(numpy_of(NearestUpsampling()(x))[0, :, :, 0], expected)


def test_the_pool_is_padded_with_less_than_any_activation():
    x = np.full((1, 4, 4, 1), -0.375, "float32")
    np.testing.assert_array_equal(numpy_of(MaxPooling()(x)), np.full((1, 2, 2, 1), -0.375, "float32"))


def test_a_gate_by_hand():
    """Four channels, of which one is squeezed: their mean; then hard_sigmoid(2 * mean + bias) times the channel."""
    gate = ChannelGate()
    x = np.stack([np.full((1, 2, 2), value, "float32") for value in (0.0, 1.0, 2.0, 3.0)], axis=-1)
    gate(x)
    gate.squeeze.convolution.kernel.assign(np.full((1, 1, 4, 1), 0.25))
    gate.excite.convolution.kernel.assign(np.full((1, 1, 1, 4), 2.0))
    gate.excite.convolution.bias.assign(np.array([-1.0, -3.0, -6.0, 9.0]))
    # mean 1.5, times 2 is 3; hard_sigmoid(v) = clip(v / 6 + 1/2, 0, 1)
    expected = np.array([0.0, 1.0, 2.0, 3.0]) * [2 / 6 + 0.5, 0.5, 0.0, 1.0]
    np.testing.assert_allclose(numpy_of(gate(x))[0, 0, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "widths"), [(ShuffleBlock, (8, 6)), (ShuffleReduction, (8, 6)), (CrossStageBlock, (6,))]
)
def test_a_block_survives_serialisation(kind, widths):
    block = kind(*widths, name="b")
    copy = kind.from_config(block.get_config())
    x = np.random.default_rng(0).normal(size=(1, 5, 6, 8)).astype("float32")
    y = block(x)
    copy(x)
    assert tuple(y.shape) == tuple(block.compute_output_shape(x.shape))
    copy.set_weights(block.get_weights())
    np.testing.assert_array_equal(numpy_of(y), numpy_of(copy(x)))


def test_convolutions_are_told_apart_by_their_order(convolutions):
    variables = {v.path: numpy_of(v) for v in convert_convolutions(NAME, convolutions).backbone.variables}
    np.testing.assert_array_equal(variables["backbone_stem/convolution/bias"], convolutions[0].bias)
    kernel = variables["backbone_block0/short_depthwise/convolution/kernel"]  # [height, width, channels, 1]
    assert kernel[0, 2, 5, 0] == convolutions[1].weight[5, 0, 0, 2]
    kernel = variables["backbone_block12/project/convolution/kernel"]
    assert kernel[0, 0, 3, 7] == convolutions[-1].weight[7, 3, 0, 0]


def wrong_shape(convolutions):
    convolutions[2] = convolutions[2]._replace(weight=convolutions[2].weight[:-1])


def with_a_nan(convolutions):
    weight = convolutions[4].weight.copy()
    weight[0] = np.nan
    convolutions[4] = convolutions[4]._replace(weight=weight)


def cut_off(convolutions):
    del convolutions[-1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (wrong_shape, r"convolution 3 \(c2\) has shape \(47, 24, 1, 1\)"),
        (with_a_nan, r"convolution 5 \(c4\) holds something other than finite numbers"),
        (cut_off, "77 convolutions in it, 78 expected"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(spoil, message, convolutions):
    spoiled = list(convolutions)
    spoil(spoiled)
    with pytest.raises(UserError, match=message):
        convert_convolutions(NAME, spoiled)


def test_the_command_refuses_what_is_no_onnx_file(tmp_path, capsys):
    pytest.importorskip("onnx")
    (tmp_path / "a.onnx").write_bytes(b"\xff not a model")
    assert main(["convert_weights", str(tmp_path / "a.onnx"), str(tmp_path / "a.npz"), "--backbone", NAME]) == 2
    assert "a.onnx: not a readable ONNX model" in capsys.readouterr().err
    assert main(["convert_weights", str(tmp_path / "b.onnx"), str(tmp_path / "a.npz"), "--backbone", NAME]) == 2
    assert "b.onnx: no such file" in capsys.readouterr().err


@pytest.fixture(scope="module")
def teacher(real_data):
    """The public file."""
    pytest.importorskip("onnx")
    return real_data("teachers") / "picodet_s_416_coco.onnx"


def their_taps(onnx, runtime, file, taps, height: int, width: int):
    """Image `[H, W, 3]`, 0..255 -> the three maps of the file's graph, `[1, h, w, C]`, by ONNX Runtime.

    The graph is made for 416 x 416: its fixed reshapes (the channel shuffles) are rewritten for the wanted size.
    """
    model = onnx.load(file)
    graph = model.graph
    shuffles = [node for node in graph.node if node.op_type == "Reshape"]
    sizes = {f"reshape2_{2 * i}.tmp_0": (8 if i < 2 else 16 if i < 8 else 32) for i in range(10)}
    sizes.update({f"reshape2_{2 * i + 1}.tmp_0": size for i, size in enumerate(list(sizes.values()))})
    channels = {8: 96, 16: 192, 32: 384}
    for node in shuffles:
        stride = sizes.get(node.output[0])
        if stride is None:
            continue
        h, w, c = height // stride, width // stride, channels[stride]
        shape = (
            [1, 2, c // 2, h, w]
            if int(node.output[0].removeprefix("reshape2_").partition(".")[0]) % 2 == 0
            else [1, c, h, w]
        )
        name = f"shape_of_{node.output[0]}"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), name))
        node.input[1] = name
    for dimension, size in zip(graph.input[0].type.tensor_type.shape.dim[2:], (height, width), strict=True):
        dimension.dim_value = size
    del graph.value_info[:], graph.output[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(tap, 1, None) for tap in taps)
    runtime.set_default_logger_severity(3)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    mean, scale = (np.array(v, np.float32) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))

    def run(image):
        x = ((image - mean) / scale).transpose(2, 0, 1)[None].astype(np.float32)
        return [tap.transpose(0, 2, 3, 1) for tap in session.run(list(taps), {"image": x})]

    return run


@pytest.mark.parametrize("size", [(416, 416), (141, 203)])
@pytest.mark.parametrize("name", sorted(TAPS))
def test_all_three_taps_equal_onnx_runtime(teacher, real_data, tmp_path, capsys, name, size):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from PIL import Image

    file = min((real_data("voc07") / "JPEGImages").glob("*.jpg"))
    image = padded(np.asarray(Image.open(file).convert("RGB").resize(size[::-1]), np.float32))
    assert main(["convert_weights", str(teacher), str(tmp_path / "ours.npz"), "--backbone", name]) == 0
    ours = backbone_model(name)
    report = load_weights(ours, tmp_path / "ours.npz")
    assert report.kept == ()
    assert all(path.startswith("classifier_") for path in report.unused)
    expected = their_taps(onnx, runtime, teacher, TAPS[name], *image.shape[:2])(image)
    maps = [numpy_of(map_) for map_ in ours(image[None])]
    differences = [
        float(np.abs(map_ - tap).max() / np.abs(tap).max()) for map_, tap in zip(maps, expected, strict=True)
    ]
    with capsys.disabled():
        print(f"\n{name} against ONNX Runtime at {image.shape[:2]}, relative: {differences}")
    assert all(tap.std() > 0.05 for tap in expected)
    assert max(differences) < TOLERANCE


def test_the_weights_fill_the_backbone_of_a_narrow_network(convolutions, tmp_path):
    from zip_keras.weights.npz import save_weights

    save_weights(convert_convolutions(NAME, convolutions).backbone, tmp_path / "ours.npz")
    network = ProposalNetwork(ModelConfig(backbone=NAME, zoom_in_width=0.25, head_channels=32, attention_width=0.25))
    report = load_weights(network, tmp_path / "ours.npz")
    assert report.unused == ()
    assert not [line for line in report.kept if line.startswith("backbone")]


def test_class_scores_start_as_the_teachers(teacher, real_data, tmp_path, capsys):
    """P(class) of the anchors of every cell is the file's class score of that cell, for VOC's names too."""
    runtime = pytest.importorskip("onnxruntime")
    from PIL import Image

    names, numbers = ("sofa", "person", "red cell", "tv"), (57, 0, None, 62)
    file = min((real_data("voc07") / "JPEGImages").glob("*.jpg"))
    image = np.asarray(Image.open(file).convert("RGB").resize((416, 416)), np.float32)
    assert main(["convert_weights", str(teacher), str(tmp_path / "p.npz"), "--backbone", "picodet_s"]) == 0
    assert "classifier of COCO's 80 classes" in capsys.readouterr().out
    config = ModelConfig(backbone="picodet_s", merge="conv", zoom_in_width=0.125, head_channels=104)
    network = OneStageNetwork(config, class_names=names)
    load_weights(network, tmp_path / "p.npz")
    assert start_classes(network, tmp_path / "p.npz").endswith("from COCO for 3 classes, not for red cell")
    session = runtime.InferenceSession(teacher.read_bytes(), providers=["CPUExecutionProvider"])
    mean, scale = (np.array(v, np.float32) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    theirs = session.run(None, {"image": ((image - mean) / scale).transpose(2, 0, 1)[None].astype(np.float32)})
    for logits, scores in zip(network(image[None])["logits"], theirs, strict=False):
        ours = numpy_of(logits)[0].reshape(scores.shape[-2], -1, 1 + len(names))  # cells, anchors, classes
        assert scores.shape[-1] == 80
        for place, number in enumerate(numbers, 1):
            score = 1 / (1 + np.exp(-ours[..., place]))
            expected = 0.01 if number is None else scores.reshape(-1, 80)[:, number, None]
            np.testing.assert_allclose(score, np.broadcast_to(expected, score.shape), atol=1e-4)
        assert not ours[..., 0].any()


def test_a_class_start_that_cannot_be_is_refused(tmp_path):
    file = tmp_path / "p.npz"
    np.savez(file, **{"classifier_1/kernel": np.zeros((32, 80), "float32")})
    config = ModelConfig(backbone=NAME, zoom_in="none", head_channels=16)
    with pytest.raises(UserError, match="COCO has none of the classes red, white"):
        start_classes(OneStageNetwork(config, class_names=("red", "white")), file)
    network = OneStageNetwork(config, class_names=("cat",))
    with pytest.raises(UserError, match=r"p\.npz: no classifier of level 1"):
        start_classes(network, file)
    np.savez(file, **{f"classifier_1/{part}": np.zeros(shape) for part, shape in (("kernel", (32, 80)), ("bias", 80))})
    with pytest.raises(UserError, match=r"set model\.head_channels to 32 or more"):
        start_classes(network, file)
