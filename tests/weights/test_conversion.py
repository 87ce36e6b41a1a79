"""Backbones filled from PyTorch state dicts give what the PyTorch networks give."""

import pickle
import zipfile

import keras
import numpy as np
import pytest
from pytorch_oracle import module_of, padded, randomise, relative_difference, require, require_torch

from zip_keras.backbones import get_backbone
from zip_keras.cli import main
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError
from zip_keras.layers.padding import PadToMultiple
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.weights.conversion import SOURCES, convert_state_dict
from zip_keras.weights.npz import load_weights, save_weights

TOLERANCE = 1e-4


def backbone_model(config: ModelConfig) -> keras.Model:
    """Preprocessed image of any size to F1, F2, F3."""
    image = keras.Input((None, None, 3))
    return keras.Model(image, get_backbone(config.backbone).build(PadToMultiple(32)(image), config).maps)


@pytest.fixture(scope="module")
def all_tensors():
    """Random tensors under the names of `bninception`, made from our own rows: tests of refusals need no PyTorch."""
    built = get_backbone("inception_bn").build(keras.Input((None, None, 3)), ModelConfig())
    random = np.random.default_rng(0)
    tensors = {}
    for brick in SOURCES["inception_bn"].bricks(built.layers):
        height, width, inputs, outputs = brick.convolution.kernel.shape
        tensors[f"{brick.their_convolution}.weight"] = random.normal(size=(outputs, inputs, height, width))
        tensors[f"{brick.their_convolution}.bias"] = random.normal(size=outputs)
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{brick.their_normalisation}.{part}"] = random.uniform(0.5, 1.5, size=outputs)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


@pytest.fixture
def tensors(all_tensors):
    """A copy to spoil."""
    return {name: tensor.copy() for name, tensor in all_tensors.items()}


def test_all_three_taps_of_inception_bn_equal_bninception(tmp_path, capsys):
    torch = require_torch()
    theirs = module_of(require("pretrainedmodels") / "models" / "bninception.py").BNInception().eval()
    randomise(torch, theirs, seed=1)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    assert main(["convert_weights", str(tmp_path / "theirs.pth"), str(tmp_path / "ours.npz")]) == 0
    ours = {border: backbone_model(ModelConfig(pool_border=border)) for border in ("count", "ignore")}
    for model in ours.values():
        report = load_weights(model, tmp_path / "ours.npz")
        assert (report.kept, report.unused) == ((), ())

    taps = {}  # a block's output is the input of the next one's first convolution; 5b's is the features
    for tap, following in (("3b", "inception_3c_3x3_reduce"), ("4d", "inception_4e_3x3_reduce")):
        getattr(theirs, following).register_forward_pre_hook(lambda _, inputs, tap=tap: taps.update({tap: inputs[0]}))
    image = np.random.default_rng(2).uniform(-120, 130, size=(141, 203, 3)).astype(np.float32) / 64
    with torch.no_grad():
        taps["5b"] = theirs.features(torch.from_numpy(padded(image).transpose(2, 0, 1)[None]))
    assert all(expected.std() > 0.05 for expected in taps.values())  # the comparison is not one of zeros
    differences = {
        border: [
            relative_difference(map_, taps[tap])
            for tap, map_ in zip(("3b", "4d", "5b"), model(image[None]), strict=True)
        ]
        for border, model in ours.items()
    }
    with capsys.disabled():
        print(f"\ninception_bn against bninception, relative, 3b 4d 5b: {differences['count']}")
    assert max(differences["count"]) < TOLERANCE
    assert min(differences["ignore"]) > 100 * TOLERANCE  # the other border is another network, and the test sees it


@pytest.mark.slow
def test_converted_file_fills_the_backbone_of_a_network(tmp_path, tensors):
    conversion = convert_state_dict("inception_bn", tensors)
    save_weights(conversion.backbone, tmp_path / "ours.npz")
    network = ProposalNetwork(ModelConfig(zoom_in="none", head_channels=8, batch_norm="frozen"))
    report = load_weights(network, tmp_path / "ours.npz")
    assert report.unused == ()
    assert len(report.loaded) == 5 * conversion.convolutions == len(conversion.backbone.variables)
    assert not [line for line in report.kept if line.startswith("backbone")]


def test_bias_moves_the_mean_and_the_kernel_is_transposed(tensors):
    conversion = convert_state_dict("inception_bn", tensors)
    variables = {variable.path: keras.ops.convert_to_numpy(variable) for variable in conversion.backbone.variables}
    mean = tensors["inception_4a_double_3x3_1_bn.running_mean"] - tensors["inception_4a_double_3x3_1.bias"]
    np.testing.assert_allclose(variables["backbone_4a/double_first/normalisation/moving_mean"], mean)
    kernel = variables["backbone_4a/double_first/convolution/kernel"]  # [height, width, in, out]
    assert kernel[0, 2, 5, 7] == tensors["inception_4a_double_3x3_1.weight"][7, 5, 0, 2]


def test_classifier_and_counters_are_not_needed(tensors):
    tensors["last_linear.weight"] = np.zeros((1000, 1024), np.float32)
    tensors["conv1_7x7_s2_bn.num_batches_tracked"] = np.int64(3)
    unused = convert_state_dict("inception_bn", tensors).unused
    assert unused == ("last_linear.weight",)


def test_vectors_of_old_files_have_a_leading_one(tensors):
    old = {name: t[None] if name.endswith("bn.weight") else t for name, t in tensors.items()}
    new, old = (convert_state_dict("inception_bn", t).backbone.get_weights() for t in (tensors, old))
    assert all(np.array_equal(a, b) for a, b in zip(new, old, strict=True))


def without(tensors):
    del tensors["inception_3a_1x1.weight"]


def with_another(tensors):
    tensors["inception_6a.weight"] = np.zeros(3, np.float32)


def of_another_width(tensors):
    tensors["inception_4d_3x3.weight"] = np.zeros((160, 128, 3, 3), np.float32)


def with_a_nan(tensors):
    tensors["conv2_3x3_bn.bias"][3] = np.nan


def with_a_negative_variance(tensors):
    tensors["conv2_3x3_bn.running_var"][0] = -1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without, r"inception_3a_1x1\.weight is missing"),
        (with_another, r"inception_6a\.weight is unknown"),
        (of_another_width, r"inception_4d_3x3\.weight has shape \(160, 128, 3, 3\), not \(192, 128, 3, 3\)"),
        (with_a_nan, r"conv2_3x3_bn\.bias holds something other than finite numbers"),
        (with_a_negative_variance, r"conv2_3x3_bn\.running_var is negative"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_by_name(spoil, message, tensors):
    spoil(tensors)
    with pytest.raises(UserError, match=message):
        convert_state_dict("inception_bn", tensors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pth", "a.npz"], "missing.pth: no such file"),
        (["a.pth", "a.h5"], "a weights file ends in .npz"),
        (["a.pth", "no/folder/a.npz"], "no such folder"),
        (["empty.pth", "a.npz", "--backbone", "vgg"], "no PyTorch weights are known for backbone 'vgg'"),
        (["empty.pth", "a.npz"], "empty.pth: not the state dict of backbone inception_bn: 345 tensors do not fit"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("empty.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
    assert main(["convert_weights", *arguments]) == 2
    assert message in capsys.readouterr().err
