"""The structures of the paper's Table 1 differ in the config alone: where the anchors are, and on which maps."""

import io

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.config import AnchorConfig, ModelConfig, PostprocessConfig, from_dict, to_dict
from zip_keras.config.files import read_config
from zip_keras.errors import UserError
from zip_keras.layers.inception import Inception
from zip_keras.models.postprocess import postprocess
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.proposer import Proposer
from zip_keras.models.zoom import build_zoom
from zip_keras.weights.npz import load_weights, save_weights

EVERY_SCALE = (16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
SPLIT = AnchorConfig().scales
STRUCTURES = {
    "a": {"zoom_in": "none", "scales": ((), (), EVERY_SCALE)},  # zoom-out, all on the last map
    "b": {"zoom_in": "none", "scales": SPLIT},  # zoom-out, split over the maps
    "c": {"zoom_in": "none", "scales": (EVERY_SCALE,) * 3},  # zoom-out, all at every level
    "d": {"zoom_in": "full", "scales": SPLIT},  # ZIP
    "e": {"zoom_in": "none", "scales": SPLIT, "deepen": 1},  # a deeper zoom-out, split
}
REPEATS = {f"backbone_{name}_2" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "5a", "5b")}  # of structure e
every_structure = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)


def config_of(structure, **options) -> ModelConfig:
    options = {"width": 0.0625, "head_channels": 8, **structure, **options}
    return ModelConfig(anchors=AnchorConfig(options.pop("scales")), **options)


def blocks_of(config) -> set[str]:
    """Names of the network's layers that hold weights."""
    return {v.path.split("/")[0] for v in ProposalNetwork(config).variables}


@every_structure
def test_outputs_anchors_losses_and_proposals_agree(structure, batch):
    network = ProposalNetwork(config_of(structure))
    images, y = batch(np.random.default_rng(0), images=2, size=(40, 70))
    outputs = network(images)
    counts = [5 * len(s) * n for s, n in zip(structure["scales"], (8 * 12, 4 * 6, 2 * 3), strict=True) if s]
    assert [len(a) for a in network.anchors(40, 70)] == counts
    assert [x.shape for x in outputs["logits"]] == [(2, n, 3) for n in counts]
    assert [x.shape for x in outputs["deltas"]] == [(2, n, 4) for n in counts]
    losses = network.image_losses(images, y, outputs)
    terms = {f"{kind}_{m}" for kind in ("classification", "box", "positives") for m in network.levels}
    assert set(losses) == {"loss", *terms}
    assert all(np.isfinite(ops.convert_to_numpy(x)).all() for x in losses.values())
    postprocess = PostprocessConfig(pre_nms_top_n=100, thresholds=(0.7,), counts=(30,), max_proposals=20)
    assert Proposer(network, postprocess, short_sides=None)(images)["valid"][:, 0].numpy().all()


def test_all_scales_on_the_last_map_are_its_only_anchors():
    network = ProposalNetwork(config_of(STRUCTURES["a"]))
    assert network.levels == (3,)
    (anchors,) = network.anchors(32, 64)
    areas = np.prod(anchors[:, 2:] - anchors[:, :2], axis=1)
    np.testing.assert_allclose(areas, np.tile(np.repeat(np.square(EVERY_SCALE), 5), 2), rtol=1e-5)
    centres = ops.convert_to_numpy(anchors[:, :2] + anchors[:, 2:]) / 2
    np.testing.assert_allclose(centres[:30], [[16, 16]] * 30, atol=1e-4)
    np.testing.assert_allclose(centres[30:], [[16, 48]] * 30, atol=1e-4)


def test_structures_share_the_backbone():
    blocks = {name: blocks_of(config_of(structure)) for name, structure in STRUCTURES.items()}
    assert blocks["b"] == blocks["c"] == blocks["a"] | {"head_1", "head_2"}
    assert blocks["b"] < blocks["d"]
    assert blocks["e"] == blocks["b"] | REPEATS


def test_no_stream_is_built_that_no_level_uses():
    last = blocks_of(config_of({"scales": ((), (), EVERY_SCALE)}))
    assert not any(name.startswith(("zoom_in", "merge", "head_1", "head_2")) for name in last)
    coarse = blocks_of(config_of({"scales": ((), *SPLIT[1:])}))
    assert {name for name in coarse if name.startswith("zoom_in")} == {"zoom_in_5b", "zoom_in_5a", "zoom_in_4e"}
    assert {name for name in coarse if name.startswith(("merge", "head"))} == {"merge_2_decision", "head_2", "head_3"}
    fine = blocks_of(config_of({"scales": (EVERY_SCALE, (), ())}))
    assert {name for name in fine if name.startswith(("merge", "head"))} == {"merge_1_decision", "head_1"}
    assert {"zoom_in_3a", "backbone_5b"} <= fine


def test_depth_of_the_deepened_backbone():
    """Counted as in the paper: convolutions along the 3x3 branch; Inception-BN then has 3 + 10 x 2."""

    def depth(**options):
        maps = build_zoom(keras.Input((None, None, 3)), config_of({"scales": SPLIT, "zoom_in": "none"}, **options))
        return sum(2 if isinstance(layer, Inception) else 1 for layer in maps.backbone_layers.values())

    assert (depth(), depth(deepen=1), depth(deepen=2)) == (23, 39, 55)


def test_repeats_keep_the_widths_of_the_table():
    maps = build_zoom(keras.Input((None, None, 3)), ModelConfig(zoom_in="none", deepen=2))
    assert [x.shape[-1] for x in maps.zoom_out] == [320, 608, 1024]
    inputs = {name: layer.input.shape[-1] for name, layer in maps.backbone_layers.items()}
    assert (inputs["3a"], inputs["3a_2"], inputs["3a_3"], inputs["3b"]) == (192, 256, 256, 256)
    assert maps.zoom_out[0] is maps.backbone_layers["3b_3"].output


def test_weights_of_the_plain_backbone_fill_a_deepened_one(tmp_path):
    plain, deep = (ProposalNetwork(config_of(STRUCTURES[name])) for name in "be")
    save_weights(plain, tmp_path / "plain.npz")
    report = load_weights(deep, tmp_path / "plain.npz")
    assert len(report.loaded) == len(plain.variables)
    assert {line.split("/")[0] for line in report.kept} == REPEATS
    assert not report.unused


def test_repeats_learn_where_the_backbone_is_frozen():
    network = ProposalNetwork(config_of(STRUCTURES["e"], batch_norm="frozen"))
    scales = {v.path.split("/")[0] for v in network.trainable_variables if v.path.endswith("gamma")}
    assert scales == REPEATS


def test_another_backbone_cannot_be_deepened():
    with pytest.raises(UserError, match=r"model\.deepen .* backbone 'efficientnet_lite0' has none"):
        ProposalNetwork(ModelConfig(backbone="efficientnet_lite0", deepen=1))


def test_a_keras_file_keeps_the_structure(tmp_path):
    network = ProposalNetwork(config_of({"scales": ((), *SPLIT[1:])}))
    Proposer(network, short_sides=64).save(tmp_path / "proposer.keras")
    loaded = keras.models.load_model(tmp_path / "proposer.keras")
    assert loaded.network.levels == (2, 3)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    for one, other in zip(loaded.network(image)["logits"], network(image)["logits"], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_structure_is_a_value_on_the_command_line():
    config = read_config(None, ["model.anchors.scales=[[],[],[16,32]]", "model.deepen=1"]).model
    assert (config.anchors.scales, config.anchors.levels, config.deepen) == (((), (), (16.0, 32.0)), (3,), 1)
    assert from_dict(ModelConfig, to_dict(config)) == config


def test_a_level_bias_is_that_of_its_level():
    boxes = [np.array([[[0, 0, 9, 9]]], "float32"), np.array([[[20, 20, 39, 39]]], "float32")]
    scores = [np.array([[0.5]], "float32"), np.array([[0.25]], "float32")]
    config = PostprocessConfig(level_bias=(9.0, 0.0, 0.5), thresholds=(0.5,), counts=(5,), max_proposals=2)
    result = postprocess(boxes, scores, 40, 40, config, levels=(2, 3))
    np.testing.assert_allclose(result.scores, [[0.75, 0.5]])
    np.testing.assert_allclose(result.boxes[0, 0], [20, 20, 39, 39])


def test_progress_shows_the_levels_there_are(tmp_path, monkeypatch):
    pytest.importorskip("tqdm")
    from zip_keras.training.progress import RunProgress
    from zip_keras.training.run_folder import RunFolder

    shown = io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    progress = RunProgress(RunFolder(str(tmp_path), chief=True), steps=2, start=0, batch_size=1)
    assert shown.getvalue() == "building the graph ...\n"  # no bar that TensorFlow's own lines could cut
    progress.step()
    progress.show_losses(1, {"loss": 3, "classification_3": 1, "box_3": 2, "positives_3": 4, "learning_rate": 0.1})
    progress.close()
    assert "level 1.00+2.00) pos 4 lr" in shown.getvalue()
