import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import AnchorConfig, ModelConfig
from zip_keras.errors import UserError
from zip_keras.layers.inception import Inception
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.zoom import build_zoom, copy_mirror_weights
from zip_keras.pixels import PADDING


def built(**options):
    return build_zoom(keras.Input((None, None, 3)), ModelConfig(**options))


def channels(maps):
    return [x.shape[-1] for x in maps]


@pytest.fixture(scope="module")
def paper():
    """The network at the paper's width: a graph of 80 million weights."""
    return built()


def test_widths_of_the_paper(paper):
    assert channels(paper.zoom_out) == [320, 608, 1024]  # F1, F2, F3
    assert channels(paper.zoom_in) == [320, 608]  # H1, H2
    assert channels(paper.merged) == [640, 1216, 1024]  # Y1, Y2, F3


def test_rows_of_the_zoom_in_stream(paper):
    rows = {name: layer.row for name, layer in paper.mirror_layers.items()}
    assert list(rows) == ["5b", "5a", "4e", "4d", "4c", "4b", "4a", "3c", "3b", "3a"]
    assert (rows["4e"].three[1], rows["4e"].double[2], rows["4e"].projection) == (192, 256, 160)
    assert (rows["3c"].three[1], rows["3c"].double[2], rows["3c"].projection) == (160, 96, 64)
    for level, blocks in ((1024, ("5b", "5a")), (608, ("4d", "4c", "4b", "4a")), (320, ("3b", "3a"))):
        assert {rows[name].output_width(level) for name in blocks} == {level}


def test_number_of_layers_of_the_paper(paper):
    """An inception block is up to three convolutions deep; the paper counts about 40 layers."""
    depth = sum(1 if not isinstance(layer, Inception) else 2 for layer in paper.backbone_layers.values())
    mirror = sum(2 for _ in paper.mirror_layers)
    assert 38 <= depth + mirror <= 46


# By hand from the table: 5b', 5a' have the row of 5b and 1,024 channels in; 4d'..4a' the row of 4d and 608 in;
# 3b', 3a' the row of 3b and 320 in. Kernels after a branch's first convolution do not see the input's width.
COPIED = {
    **{"5b": {"one", "three_reduce", "three", "double_reduce", "double_first", "double_second", "projection"}},
    **{"5a": {"three", "double_second"}},  # 5a has 1,056 in and a double branch of 160
    **{"4e": {"three", "double_first", "double_second"}},  # reductions of 608 against 1,024; no projection in 4e
    **{"4d": {"one", "three_reduce", "three", "double_reduce", "double_first", "double_second", "projection"}},
    **{"3c": {"three", "double_first", "double_second"}},
    **{"3b": {"three", "double_first", "double_second"}},  # 256 against 320 in
    **{"3a": {"double_first", "double_second"}},  # 3a's 3x3 branch has 64, 3b's 96
}


def test_mirror_initialisation_by_hand(paper):
    report = copy_mirror_weights(paper.backbone_layers, paper.mirror_layers)
    assert report.copied == {f"{block}/{branch}": block for block, branches in COPIED.items() for branch in branches}
    assert len(report.copied) == 27
    assert len(report.kept) == 8 * 7 + 2 * 6 - 27
    assert "5a/one: kernel (1, 1, 1056, 352) against (1, 1, 1024, 352)" in report.kept
    assert "4e/projection: the backbone's block has no such branch" in report.kept
    said = str(report).splitlines()
    assert said[0] == "mirror initialisation: 27 convolutions copied, 41 not"
    assert "  copied: 5a from 5a: three, double_second" in said
    assert any(line.startswith("  not copied: 5a/one: kernel (1, 1, 1056, 352)") for line in said)


# With the rows of 5b, 4d and 3b come their weights; 3b has 256 channels in, 3b' and 3a' have 320.
OF_SAME_WIDTHS = {
    **{block: (source, COPIED[source]) for block, source in {"5b": "5b", "5a": "5b", "4d": "4d"}.items()},
    **dict.fromkeys(("4c", "4b", "4a"), ("4d", COPIED["4d"])),
    **{block: (block, COPIED[block]) for block in ("4e", "3c")},
    **dict.fromkeys(("3b", "3a"), ("3b", COPIED["3b"])),
}


def test_mirror_initialisation_of_same_widths_by_hand(paper):
    report = copy_mirror_weights(paper.backbone_layers, paper.mirror_layers, "same_widths")
    assert report.copied == {f"{b}/{branch}": source for b, (source, of) in OF_SAME_WIDTHS.items() for branch in of}
    assert (len(report.copied), len(report.kept)) == (54, 14)
    assert "  copied: 3a from 3b: three, double_first, double_second" in str(report).splitlines()


@pytest.mark.parametrize("source", ["same_block", "same_widths"])
def test_copied_weights_are_equal_and_others_untouched(source):
    """Every variable by name, with a frozen backbone: its variables must not change places with the mirror's."""
    config = ModelConfig(width=0.125, head_channels=8, merge="conv", batch_norm="frozen", mirror_source=source)
    maps, rng = ProposalNetwork(config), np.random.default_rng(0)
    for layer in [*maps.backbone_layers.values(), *maps.mirror_layers.values()]:
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])

    def arrays(convolution):
        return {v.path.rpartition("/")[2]: ops.convert_to_numpy(v) for v in convolution.variables}

    def state(layers):
        return {
            f"{block}/{branch}": arrays(c)
            for block, layer in layers.items()
            for branch, c in layer.convolutions().items()
        }

    backbone = state({name: layer for name, layer in maps.backbone_layers.items() if isinstance(layer, Inception)})
    before = state(maps.mirror_layers)
    copied = maps.copy_mirror_weights().copied
    assert len(copied) > 10
    assert any(not name.startswith(block) for name, block in copied.items()) == (source == "same_widths")
    for name, after in state(maps.mirror_layers).items():
        expected = backbone[f"{copied[name]}/{name.partition('/')[2]}"] if name in copied else before[name]
        assert set(after) == {"kernel", "gamma", "beta", "moving_mean", "moving_variance"}
        for variable, array in after.items():
            np.testing.assert_array_equal(array, expected[variable])


@pytest.mark.parametrize("size", [(64, 96), (33, 1), (100, 70)])
def test_maps_have_strides_8_16_32_of_the_padded_image(narrow, size):
    rows, columns = -(-size[0] // 32), -(-size[1] // 32)
    maps = keras.Model(narrow.inputs, [narrow.get_layer(f"merge_{m}").output for m in (1, 2)])
    shapes = [x.shape[1:3] for x in maps([np.zeros((1, *size, 3), "float32")])]
    assert shapes == [(4 * rows, 4 * columns), (2 * rows, 2 * columns)]


def padded_images(size=(50, 70), to=(128, 160)):
    """Two images, of which the second is smaller than the batch."""
    images = np.random.default_rng(6).uniform(0, 255, (2, *to, 3)).astype("float32")
    images[1, size[0] :] = PADDING
    images[1, :, size[1] :] = PADDING
    return images


def test_mu_is_of_the_valid_part_of_the_coarsest_map(narrow):
    decision = narrow.get_layer("merge_1_decision")
    f3, mu = keras.Model(narrow.inputs, [decision.input[0], decision.output])([padded_images()])
    np.testing.assert_allclose(mu[:1], decision(f3[:1]), rtol=1e-5)
    np.testing.assert_allclose(mu[1:], decision(f3[1:, :2, :3]), rtol=1e-5)  # 50 x 70 reaches into 2 x 3 cells of 32
    assert np.abs(mu[1:] - decision(f3[1:])).max() > 1e-4


def test_se_weighs_all_three_levels_by_their_valid_parts():
    network = ProposalNetwork(ModelConfig(width=0.125, zoom_in="released", head_channels=8, merge="se"))
    for level, cells in ((1, (7, 9)), (2, (4, 5)), (3, (2, 3))):  # that 50 x 70 pixels reach into
        unit = network.get_layer(f"merge_{level}")
        unit.excite.kernel.assign(np.random.default_rng(7).normal(size=unit.excite.kernel.shape))
        x, merged = keras.Model(network.inputs, [unit.input[0], unit.output])([padded_images()])
        rows, columns = cells
        np.testing.assert_allclose(merged[1:, :rows, :columns], unit(x[1:, :rows, :columns]), rtol=1e-4, atol=1e-6)
        assert np.abs(merged[1:] - unit(x[1:])).max() > 1e-3
        assert network.get_layer(f"head_{level}").input is unit.output


def test_the_released_stream_is_shorter():
    maps = built(width=0.125, zoom_in="released")
    assert channels(maps.zoom_in) == channels(maps.zoom_out[:2])
    assert list(maps.mirror_layers) == ["5b", "5a", "4e", "4d", "4c", "3c"]
    kept = copy_mirror_weights(maps.backbone_layers, maps.mirror_layers).kept
    assert "4e: not an inception block in both streams" in kept  # a plain 1x1 convolution
    assert isinstance(maps.mirror_layers["3c"], keras.layers.Conv2D)


def test_deconv_has_the_same_maps():
    maps = built(width=0.125, upsampling="deconv")
    assert channels(maps.zoom_in) == channels(maps.zoom_out[:2])
    assert any("double_size" in v.path for v in maps.mirror_layers["4e"].trainable_variables)


def test_zoom_out_alone_has_no_second_stream():
    maps = built(width=0.125, zoom_in="none")
    assert (maps.zoom_in, maps.mirror_layers) == ((), {})
    assert maps.merged == maps.zoom_out


def test_four_map_sources():
    maps = built(merge="conv", attention_sources=4)
    assert channels(maps.merged) == [320 + 320 + 256 + 320, 4 * 608, 1024]
    assert channels(maps.zoom_in) == [320, 608]
    out, back = maps.backbone_layers, maps.mirror_layers
    for merged, sources in (
        (maps.merged[0], (out["3b"], back["3a"], out["3a"], back["3b"])),
        (maps.merged[1], (out["4d"], back["4e"], out["4c"], back["4d"])),
    ):
        entering = merged._keras_history.operation.input
        assert all(x is source.output for x, source in zip(entering, sources, strict=True))


def test_four_map_sources_of_one_level_end_the_stream_early():
    maps = built(width=0.5, attention_sources=4, anchors=AnchorConfig(scales=((), (64.0,), (256.0,))))
    assert list(maps.mirror_layers) == ["5b", "5a", "4e", "4d"]
    assert (channels(maps.zoom_in), channels(maps.merged)) == ([304], [4 * 304, 512])


@pytest.mark.parametrize("backbone", ["inception_bn", "efficientnet_lite0"])
def test_mad_decides_on_every_channel_of_four_sources(backbone):
    network = ProposalNetwork(ModelConfig(backbone=backbone, width=0.0625, head_channels=8, attention_sources=4))
    for m in (1, 2):
        assert network.get_layer(f"merge_{m}_decision").channels == network.get_layer(f"merge_{m}").output.shape[-1]
    assert np.isfinite(network(np.ones((1, 32, 32, 3), "float32"))["logits"][0]).all()


def test_four_map_sources_need_blocks_to_take():
    for zoom_in in ("released", "none"):
        with pytest.raises(UserError, match="set zoom_in to full"):
            ModelConfig(attention_sources=4, zoom_in=zoom_in)
    backbone = "keras:MobileNetV2:block_6_expand_relu,block_13_expand_relu,out_relu"
    with pytest.raises(UserError, match=r"attention_sources 4: backbone 'keras:MobileNetV2.* use 2"):
        built(backbone=backbone, width=0.125, attention_sources=4)


def test_zoom_in_width_changes_the_second_stream_alone():
    maps = built(width=0.125, zoom_in_width=0.5)
    # 3b: 64 96 96 64 times 1/8 and 1/16 is 8 16 16 8 (12 and 6 round to 16 and 8) and 8 8 8 8
    assert (maps.zoom_out[0].shape[-1], maps.zoom_in[0].shape[-1]) == (8 + 16 + 16 + 8, 4 * 8)


def test_frozen_batch_norm_is_the_backbones_alone():
    maps = built(width=0.125, batch_norm="frozen")
    assert not any("gamma" in v.path for layer in maps.backbone_layers.values() for v in layer.trainable_variables)
    assert any("gamma" in v.path for layer in maps.mirror_layers.values() for v in layer.trainable_variables)


def test_an_unknown_backbone_is_named():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet'; there are .*inception_bn"):
        built(backbone="resnet")
