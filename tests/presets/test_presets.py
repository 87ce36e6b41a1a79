import json
import re
import shutil

import numpy as np
import pytest

import zip_keras
from zip_keras import presets
from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.inference.detectors import load_keras_detector
from zip_keras.inference.loading import load_keras_proposer, load_proposer
from zip_keras.inference.model_files import is_detector
from zip_keras.inference.options import InferenceOptions
from zip_keras.utils.digests import sha256


@pytest.fixture(scope="module")
def folder(small_proposer, tmp_path_factory):
    place = tmp_path_factory.mktemp("presets")
    presets.save_preset(small_proposer, place / "small", "random weights")
    (place / "small" / presets.CARD_FILE).write_text("# Card of small\n")
    return place


@pytest.fixture(scope="module")
def small_detector():
    """One stage, random weights."""
    import keras

    from tests.tiny_backbone import TINY_MODEL

    keras.utils.set_random_seed(2)
    network = zip_keras.OneStageNetwork(TINY_MODEL, class_names=("cat", "dog"))
    return zip_keras.Detector(network, short_sides=64, long_side=128)


@pytest.fixture
def installed(folder, monkeypatch):
    monkeypatch.setattr(presets, "FOLDER", folder)
    monkeypatch.setattr("zip_keras.inference.model_files.PRESETS", folder)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)


def test_a_preset_is_the_model_in_half_precision(installed, small_proposer, image):
    assert zip_keras.list_presets() == {"small": "random weights"}
    loaded = zip_keras.from_preset("small")
    assert loaded.get_config()["postprocess"] == small_proposer.get_config()["postprocess"]
    assert loaded.short_sides == small_proposer.short_sides
    for given, own in zip(loaded.network.variables, small_proposer.network.variables, strict=True):
        np.testing.assert_allclose(given, own, rtol=1e-3, atol=1e-6)
        if len(own.shape) == 1:
            np.testing.assert_array_equal(given, own)
    found, expected = loaded(image[None]), small_proposer(image[None])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=0.02)


def test_commands_take_a_presets_name(installed, image, capsys):
    assert len(load_proposer("small")(image)) == 50
    assert len(load_proposer("small", options=InferenceOptions(max_proposals=7, flip=True))(image)) == 7
    assert load_keras_proposer("small").short_sides == (128,)
    assert main(["presets"]) == 0
    assert main(["presets", "small"]) == 0
    assert capsys.readouterr().out == "small: random weights\n# Card of small\n\n"


def test_a_detector_as_a_preset(installed, folder, small_detector, tmp_path, image, capsys):
    small_detector.save(tmp_path / "d.keras")
    save = ["presets", "pets", "--save", str(tmp_path / "d.keras"), "--description", "pets", "--folder", str(folder)]
    assert main([*save, "--vote", "0.8"]) == 2
    assert "--vote is for proposers" in capsys.readouterr().err
    try:
        assert main([*save, "--scales", "96", "--long-side", "160"]) == 0
        (folder / "pets" / presets.CARD_FILE).write_text("# Card of pets\n")
        capsys.readouterr()
        assert main(["presets", "pets"]) == 0
        assert capsys.readouterr().out == "# Card of pets\n\n## Classes\n\n1 cat, 2 dog\n"
        loaded = load_keras_detector("pets")
        assert (loaded.class_names, loaded.short_sides, loaded.long_side) == (("cat", "dog"), (96,), 160)
        found = zip_keras.from_preset("pets")(image[None])
        expected = small_detector.with_options(short_sides=96, long_side=160)(image[None])
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-3)
        assert is_detector("pets")
        assert not is_detector("small")
        with pytest.raises(UserError, match="pets: holds a Detector, not a Proposer"):
            load_keras_proposer("pets")
        with pytest.raises(UserError, match="small: holds a Proposer, not a Detector"):
            load_keras_detector("small")
    finally:
        shutil.rmtree(folder / "pets", ignore_errors=True)


def test_unknown_and_damaged_presets(installed, folder, small_proposer, tmp_path):
    with pytest.raises(UserError, match="no preset 'none'; there are small"):
        zip_keras.from_preset("none")
    with pytest.raises(UserError, match=r"none: no such model; .*or a preset \(small\)"):
        load_proposer("none")
    presets.save_preset(small_proposer, tmp_path / "cut", "x")
    weights = tmp_path / "cut" / presets.WEIGHTS_FILE
    arrays = dict(np.load(weights))
    np.savez(weights, **dict(list(arrays.items())[1:]))
    description = tmp_path / "cut" / presets.PRESET_FILE
    content = json.loads(description.read_text())
    content["sha256"][presets.WEIGHTS_FILE] = sha256(weights)
    description.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"not the weights of its network: .*not in the file"):
        presets.load_preset(tmp_path / "cut")
    for damaged in (
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"description": "\\ud800"}',
        '{"description": "x", "network": []}',
    ):
        description.write_text(damaged)
        with pytest.raises(UserError, match=r"preset\.json: damaged"):
            presets.load_preset(tmp_path / "cut")


def test_weights_of_which_a_bit_changed_are_refused(small_proposer, tmp_path, monkeypatch):
    """Saved again, so that the archive's own checksum is right: only the digest tells."""
    folder = tmp_path / "small"
    presets.save_preset(small_proposer, folder, "random weights")
    weights = folder / presets.WEIGHTS_FILE
    arrays = dict(np.load(weights))
    name = next(iter(arrays))
    arrays[name].view(np.uint16).flat[0] ^= 1
    with open(weights, "wb") as stream:
        np.savez_compressed(stream, **arrays)
    message = r"weights\.npz: not the file that was written \(its SHA-256 begins with \w{12}, preset\.json says \w{12}"
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    for load in (presets.from_preset, presets.weights_file):
        with pytest.raises(UserError, match=message):
            load("small")
    weights.unlink()
    with pytest.raises(UserError, match=r"weights\.npz: cannot be read .*preset\.json lists it"):
        presets.from_preset("small")
    content = json.loads((folder / presets.PRESET_FILE).read_text())
    (folder / presets.PRESET_FILE).write_text(json.dumps({k: v for k, v in content.items() if k != "sha256"}))
    with pytest.raises(UserError, match=r"preset\.json: lacks the SHA-256 of weights\.npz"):
        presets.from_preset("small")


def test_what_does_not_fit_half_precision_is_refused(small_proposer, tmp_path):
    kernel = small_proposer.network.get_layer("head_1").score.kernel
    before = kernel.numpy()
    try:
        kernel.assign(before * 1e9)
        with pytest.raises(UserError, match="head_1/score/kernel does not fit float16"):
            presets.save_preset(small_proposer, tmp_path / "large", "x")
    finally:
        kernel.assign(before)


class TestShipped:
    def test_every_preset_is_small_and_has_a_card(self):
        assert presets.DEFAULT_PRESET in presets.list_presets()
        for name in presets.list_presets():
            place = presets.FOLDER / name
            assert (place / presets.WEIGHTS_FILE).stat().st_size < 16e6
            card = presets.model_card(name)
            for part in ("Data", "Recipe", "Numbers", "Licence", "Known failures"):
                assert re.search(rf"^#+ {part}", card, re.M), f"{name}: the card has no part {part!r}"
            assert json.loads((place / presets.PRESET_FILE).read_text())["description"]

    def test_the_default_finds_a_square_on_a_plain_ground(self):
        """No data needed: a bright disc on gray is an object to anybody."""
        y, x = np.mgrid[:375, :500]
        picture = np.full((375, 500, 3), 110, np.uint8)
        picture[(y - 180) ** 2 + (x - 260) ** 2 < 90**2] = (220, 60, 40)
        boxes = np.asarray(zip_keras.from_preset(presets.DEFAULT_PRESET)(picture[None])["boxes"])[0, :100]
        disc = np.array([90, 170, 270, 350], np.float32)
        shared = np.clip(np.minimum(boxes[:, 2:], disc[2:]) - np.maximum(boxes[:, :2], disc[:2]), 0, None).prod(axis=1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + 180**2 - shared
        assert (shared / union).max() > 0.6


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("zip_lite", "zip_lite"),
        ("zip_nano", "zip_nano"),
        ("zip_lite", "bccd_finetune"),
        ("zip_lite", "bccd_two_stage"),
        ("zip_lite", "demo"),
        ("zip_lite", "finetune"),
        ("zip_lite_detector", "zip_lite_detector"),
        ("zip_lite_detector", "bccd_one_stage"),
    ],
)
def test_committed_configs_fit_their_preset(preset, name):
    from pathlib import Path

    from zip_keras.config import ModelConfig, from_dict
    from zip_keras.config.files import read_config

    config = read_config(Path(__file__).parents[2] / "configs" / f"{name}.yaml")
    stored = presets.read_preset(presets.FOLDER / preset)["network"]["config"]
    assert config.model == from_dict(ModelConfig, stored)
