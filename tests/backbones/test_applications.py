"""Networks of keras.applications as backbones."""

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as numpy_of

from zip_keras.backbones import get_backbone
from zip_keras.backbones.applications import MODES
from zip_keras.backbones.base import Preprocessing
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.weights.npz import load_weights

MOBILENET = "keras:MobileNetV2:block_6_expand_relu,block_13_expand_relu,out_relu"
VGG = "keras:VGG16:block4_conv3,block5_conv3,block5_pool"


def backbone_model(name, **options) -> keras.Model:
    image = keras.Input((None, None, 3))
    return keras.Model(image, get_backbone(name).build(image, ModelConfig(backbone=name, **options)).maps)


def test_taps_are_the_named_layers():
    image = np.random.default_rng(0).normal(size=(1, 64, 96, 3)).astype(np.float32)
    ours = backbone_model(MOBILENET)
    theirs = keras.applications.MobileNetV2(include_top=False, weights=None)
    by_path = {variable.path: variable for variable in theirs.variables}
    for variable in ours.variables:
        variable.assign(by_path[variable.path])
    for name, map_ in zip(MOBILENET.split(":")[2].split(","), ours(image), strict=True):
        expected = keras.Model(theirs.input, theirs.get_layer(name).output)(image)
        np.testing.assert_allclose(numpy_of(map_), numpy_of(expected), atol=1e-5)


def test_saved_weights_of_keras_fit_by_name(tmp_path):
    theirs = keras.applications.MobileNetV2(include_top=False, weights=None)
    theirs.save(tmp_path / "mobilenet.keras")
    network = ProposalNetwork(ModelConfig(backbone=MOBILENET, zoom_in="none", head_channels=8))
    report = load_weights(network, tmp_path / "mobilenet.keras")
    assert report.unused == ()
    assert len(report.loaded) == len(theirs.variables)
    loaded = {v.path: v for v in network.variables}["block_13_expand/kernel"]
    expected = {v.path: v for v in theirs.variables}["block_13_expand/kernel"]
    np.testing.assert_array_equal(numpy_of(loaded), numpy_of(expected))


def test_unnamed_layers_have_the_same_names_every_time():
    """Keras numbers them over the whole process; weight files go by name."""
    name = "keras:Xception:block4_sepconv1_act,block13_sepconv1_act,block14_sepconv2_act"
    first, second = ([variable.path for variable in backbone_model(name).variables] for _ in range(2))
    assert first == second
    assert {"conv2d/kernel", "conv2d_3/kernel", "batch_normalization_3/gamma"} < set(first)


@pytest.mark.parametrize(
    ("network", "layers"),
    [
        ("MobileNetV2", "block_6_expand_relu,block_13_expand_relu,out_relu"),
        ("VGG16", "block4_conv3,block5_conv3,block5_pool"),
        ("DenseNet121", "pool3_conv,pool4_conv,relu"),
        ("ResNet50", "conv3_block4_out,conv4_block6_out,conv5_block3_out"),
        ("ResNet50V2", "conv3_block3_out,conv4_block5_out,post_relu"),
    ],
)
def test_pixels_are_prepared_as_the_family_does(network, layers):
    backbone = get_backbone(f"keras:{network}:{layers}")
    image = np.random.default_rng(0).uniform(0, 255, (2, 3, 3)).astype(np.float32)
    module = {"MobileNetV2": "mobilenet_v2", "DenseNet121": "densenet", "ResNet50V2": "resnet_v2"}.get(network)
    module = getattr(keras.applications, module or {"VGG16": "vgg16", "ResNet50": "resnet50"}[network])
    ours = numpy_of(Preprocessing(backbone.mean, backbone.scale, backbone.bgr)(image))
    np.testing.assert_allclose(ours, module.preprocess_input(image.copy()), atol=1e-4)


def test_preparation_can_be_chosen():
    assert get_backbone(VGG).bgr
    assert not get_backbone(f"{VGG}:torch").bgr
    assert get_backbone("keras:EfficientNetV2B0:a,b,c").scale == MODES["raw"][1]


@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetB7"])
def test_networks_that_keras_builds_in_two_ways_are_refused(name):
    with pytest.raises(UserError, match="take an EfficientNetV2, or efficientnet_lite0"):
        get_backbone(f"keras:{name}:a,b,c")


def test_frozen_batch_norms_do_not_learn():
    frozen, synchronized = backbone_model(MOBILENET, batch_norm="frozen"), backbone_model(MOBILENET)
    norms = [layer for layer in frozen._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) > 50
    assert not any(layer.trainable for layer in norms)
    assert len(synchronized.trainable_variables) == len(frozen.trainable_variables) + 2 * len(norms)
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    in_training, in_use = (numpy_of(frozen(image, training=training)[2]) for training in (True, False))
    np.testing.assert_array_equal(in_training, in_use)
    norms = [layer for layer in synchronized._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(layer.synchronized == (keras.backend.backend() == "tensorflow") for layer in norms)


@pytest.mark.parametrize(
    "backbone",
    [
        MOBILENET,
        pytest.param(  # bare operations between its layers
            "keras:MobileNetV3Small:activation_1,activation_11,activation_17", marks=pytest.mark.slow
        ),
        pytest.param(
            "keras:ConvNeXtTiny:convnext_tiny_stage_1_block_2_identity,convnext_tiny_stage_2_block_8_identity,layer_normalization",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_whole_network_on_an_image_of_any_size(backbone, tmp_path):
    network = ProposalNetwork(
        ModelConfig(backbone=backbone, zoom_in_width=0.125, head_channels=8, attention_width=0.05)
    )
    image = np.zeros((1, 70, 90, 3), np.uint8)
    outputs = network(image)
    assert [tuple(logits.shape) for logits in outputs["logits"]] == [(1, n, 3) for n in (1440, 360, 90)]
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", compile=False)
    np.testing.assert_allclose(numpy_of(again(image)["logits"][0]), numpy_of(outputs["logits"][0]), atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("keras:MobileNetV2", "write keras:NETWORK:LAYER,LAYER,LAYER"),
        ("keras:MobileNetV2:a,b", "write keras:NETWORK:LAYER,LAYER,LAYER"),
        ("keras:MobileNetV2:a,,c", "write keras:NETWORK:LAYER,LAYER,LAYER"),
        ("keras:MobileNetV2:a,b,c:tf:more", "write keras:NETWORK:LAYER,LAYER,LAYER"),
        ("keras:MobilNetV2:a,b,c", "has no 'MobilNetV2'; did you mean 'MobileNetV2'"),
        ("keras:VGG16:a,b,c:cafe", "one of caffe, tf, torch, raw, not 'cafe'"),
        (
            "resnet",
            "unknown backbone 'resnet'; there are efficientnet_lite0, esnet_s, inception_bn, picodet_s, .*keras:",
        ),
        ("keras:MobileNetV2:block_6_expand_relu,block_13_expand_rely,out_relu", "did you mean 'block_13_expand_relu'"),
        (
            "keras:VGG16:block3_conv3,block4_conv3,block5_conv3",
            r"layer 'block3_conv3' must have stride 8, so 32 x 40 cells .* its output is \(64, 80, 256\)",
        ),
    ],
)
def test_what_is_wrong_is_named(spec, message):
    with pytest.raises(UserError, match=message):
        backbone_model(spec)
