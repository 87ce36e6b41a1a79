import dataclasses
import shutil
import zipfile

import keras
import numpy as np
import pytest

from zip_keras.errors import UserError
from zip_keras.inference.loading import load_keras_proposer, load_proposer
from zip_keras.inference.model_files import KERAS_FILE, find_model, stored_calibration
from zip_keras.inference.options import InferenceOptions


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(0, 256, (90, 120, 3), np.uint8)


class TestFinding:
    def test_a_run_gives_its_best_then_its_last(self, tmp_path):
        (tmp_path / "last.keras").touch()
        assert find_model(tmp_path) == tmp_path / "last.keras"
        (tmp_path / "best.keras").touch()
        assert find_model(tmp_path) == tmp_path / "best.keras"
        assert find_model(tmp_path / "last.keras") == tmp_path / "last.keras"

    def test_the_highest_complete_version_counts(self, tmp_path):
        for version in ("1", "9", "10", "11", ".12.77.part", "notes"):
            (tmp_path / version).mkdir()
            if version != "11":
                (tmp_path / version / "saved_model.pb").touch()
        assert find_model(tmp_path) == tmp_path / "10"
        assert find_model(tmp_path / "9") == tmp_path / "9"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("imagenet-small", "imagenet-small: no such model; name a run folder"),
            ("empty", "empty: holds no model"),
            ("run", "run: the run has saved no model yet"),
            ("text.h5", r"text\.h5: is no model"),
        ],
    )
    def test_what_is_possible_is_listed(self, tmp_path, monkeypatch, name, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.yaml").touch()
        (tmp_path / "text.h5").touch()
        with pytest.raises(UserError, match=message):
            load_proposer(name)


@pytest.fixture(scope="module")
def loaded_run(small_run):
    return load_proposer(small_run)


def test_every_form_gives_the_same_answer(small_propose, small_run, loaded_run, small_export, image):
    expected = small_propose(image)
    assert len(expected.boxes) == 50
    assert find_model(str(small_run)) == find_model(
        str(small_run / "last.keras")
    )  # the same file need not be traced twice
    of_export = [load_proposer(str(model)) for model in (small_export, small_export / "1" / KERAS_FILE)]
    for propose in (loaded_run, *of_export):
        found = propose(image)
        np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_lists_of_other_lengths_continue_each_other(small_run, loaded_run, image):
    full = loaded_run(image)
    short, longer = (load_proposer(small_run, count)(image) for count in (7, 200))
    assert [len(result.boxes) for result in (full, short, longer)] == [50, 7, 200]
    np.testing.assert_array_equal(short.boxes, full.boxes[:7])
    np.testing.assert_array_equal(short.scores, full.scores[:7])
    np.testing.assert_allclose(longer.boxes[:50], full.boxes, rtol=1e-5, atol=1e-3)


def test_a_list_beyond_the_loosest_threshold(small_proposer):
    longer = InferenceOptions(max_proposals=3000).apply(small_proposer)
    assert longer.postprocess_config.counts[0] == 3000
    assert longer.postprocess_config.counts[1:] == small_proposer.postprocess_config.counts[1:]
    assert longer.network is small_proposer.network


def test_a_saved_models_list_is_fixed(small_export):
    with pytest.raises(UserError, match=r"lists 50 boxes an image and cannot list 51; take .*proposer\.keras"):
        load_proposer(small_export, 51)


def test_options_that_cannot_be(small_proposer, small_run):
    with pytest.raises(UserError, match="max_proposals is 0"):
        load_proposer(small_run, 0)
    with pytest.raises(UserError, match="short_sides is -1"):
        InferenceOptions(short_sides=[-1])
    with pytest.raises(UserError, match="the short side, 300, is longer than the long side, 256"):
        InferenceOptions(short_sides=[300], long_side=256).apply(small_proposer)
    changed = InferenceOptions(short_sides=[300], long_side=400).apply(small_proposer)
    assert (changed.short_sides, changed.long_side) == ((300,), 400)


def test_an_export_can_be_exported_again(small_export, tmp_path):
    assert load_keras_proposer(small_export).postprocess_config.max_proposals == 50
    shutil.copytree(small_export / "1", tmp_path / "1")
    (tmp_path / "1" / KERAS_FILE).unlink()
    with pytest.raises(UserError, match=r"proposer\.keras: missing"):
        load_keras_proposer(tmp_path)


def test_broken_and_foreign_files(small_run, small_proposer, small_export, tmp_path):
    whole = (small_run / "last.keras").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello")):
        (tmp_path / f"{name}.keras").write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}\.keras: cannot be loaded .*written to its end"):
            load_proposer(tmp_path / f"{name}.keras")
    small_proposer.network.save(tmp_path / "network.keras")
    with pytest.raises(UserError, match="holds a ProposalNetwork, not a Proposer"):
        load_proposer(tmp_path / "network.keras")
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).export(str(tmp_path / "foreign"), verbose=False)
    with pytest.raises(UserError, match="foreign: not a SavedModel of zip-keras export"):
        load_proposer(tmp_path / "foreign")
    shutil.copytree(small_export / "1", tmp_path / "damaged")
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"damaged/saved_model\.pb: not the file that was written"):
        load_proposer(tmp_path / "damaged")


def test_scales_in_the_papers_proportions(small_proposer):
    changed = InferenceOptions(multi_scale=True).apply(small_proposer)  # its scale is 128, at most 256
    assert changed.short_sides == (213, 160, 107, 53)
    assert changed.long_side == 426
    with pytest.raises(UserError, match="several scales already"):
        InferenceOptions(multi_scale=True).apply(changed)
    with pytest.raises(UserError, match="choose one"):
        InferenceOptions(multi_scale=True, short_sides=[128])


@pytest.mark.slow
def test_options_reach_every_form(small_run, small_export, small_proposer, image):
    options = InferenceOptions(short_sides=[96, 128], flip=True, vote_iou=0.7, max_proposals=20)
    [expected] = np.asarray(options.apply(small_proposer)(image[None])["boxes"])  # no graph: a trace takes seconds
    assert expected.shape == (20, 4)
    for model in (small_run, small_export):
        found = load_proposer(model, options=options)(image)
        np.testing.assert_allclose(found.boxes, expected, rtol=1e-5, atol=1e-3)


def test_new_biases_forget_the_calibration_of_the_old(small_proposer):
    small = InferenceOptions().apply(small_proposer)
    small.calibration = {"data": "x"}
    assert InferenceOptions(flip=True).apply(small).calibration == {"data": "x"}
    changed = InferenceOptions(level_bias=(0.1, 0.0, 0.0)).apply(small)
    assert (changed.calibration, changed.postprocess_config.level_bias) == (None, (0.1, 0.0, 0.0))


class TestPostprocessByName:
    def test_fields_change_and_the_others_stay(self, small_proposer):
        before = small_proposer.postprocess_config
        changed = InferenceOptions(postprocess={"nms_iou": 0.9, "thresholds": [0.95, 0.8], "counts": [200, 10]})
        assert changed.apply(small_proposer).postprocess_config == dataclasses.replace(
            before, nms_iou=0.9, thresholds=(0.95, 0.8), counts=(200, 10)
        )

    def test_options_of_their_own_go_before(self, small_proposer):
        changed = InferenceOptions(postprocess={"max_proposals": 30, "vote_iou": 0.5}, max_proposals=20, vote_iou=0)
        after = changed.apply(small_proposer).postprocess_config
        assert (after.max_proposals, after.vote_iou) == (20, None)

    def test_a_bias_forgets_the_calibration(self, small_proposer):
        small = InferenceOptions().apply(small_proposer)
        small.calibration = {"data": "x"}
        assert InferenceOptions(postprocess={"nms_iou": 0.9}).apply(small).calibration == {"data": "x"}
        assert InferenceOptions(postprocess={"level_bias": [0.1, 0, 0]}).apply(small).calibration is None

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"level": 0.9}, "postprocess has no 'level'; it has level_bias, pre_nms_top_n, nms_iou"),
            ({"nms_iou": 1.5}, "nms_iou must be from 0 to 1, not 1.5"),
            ({"thresholds": [0.9, 0.8]}, "thresholds and counts must be equally long, not 2 and"),
            ({"thresholds": [3.0, 0.8], "counts": [20, 10]}, "thresholds must be at most 1, not 3"),
            ({"thresholds": 0.9}, r"thresholds must be tuple\[float, \.\.\.\], not 0.9"),
            ({"nms_iou": "high"}, "nms_iou must be float, not 'high'"),
            ({"nms_iou": True}, "nms_iou must be float, not True"),
            ({"nms_iou": None}, "nms_iou must be float, not None"),
            ({"pre_nms_top_n": 100.5}, r"pre_nms_top_n must be int \| None, not 100.5"),
            ({"counts": [100.5, 10]}, r"counts must be tuple\[int, \.\.\.\], not \[100.5, 10\]"),
            ({"level_bias": [0, 0.1]}, r"level_bias must be tuple\[float, float, float\], not \[0, 0.1\]"),
            ({"level_bias": [float("nan"), 0, 0]}, r"level_bias must be tuple.*, not \[nan, 0, 0\]"),
        ],
    )
    def test_what_cannot_be(self, small_proposer, changes, message):
        with pytest.raises(UserError, match=message):
            InferenceOptions(postprocess=changes).apply(small_proposer)


KERAS_CONFIGS = {
    "a list": "[1]",
    "nothing": "null",
    "a text": '"model"',
    "a config that is a list": '{"config": []}',
    "nesting": "[" * 200_000,
    "half a surrogate pair": '{"config": {"name": "\\ud800"}}',
    "another module": '{"module": "os", "class_name": "system", "config": {}}',
}


@pytest.mark.parametrize("what", KERAS_CONFIGS)
def test_a_keras_file_with_a_bad_config_is_one_clear_sentence(small_run, tmp_path, what):
    file = tmp_path / "bad.keras"
    with zipfile.ZipFile(small_run / "last.keras") as good, zipfile.ZipFile(file, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, KERAS_CONFIGS[what] if name == "config.json" else good.read(name))
    with pytest.raises(UserError, match=r"bad\.keras: cannot be loaded") as error:
        load_keras_proposer(file)
    assert len(str(error.value)) < 400
    if what != "another module":
        with pytest.raises(UserError, match=r"bad\.keras: cannot be loaded"):
            stored_calibration(file)


def test_a_keras_file_that_is_a_bomb_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * (64 << 20))
    with pytest.raises(UserError, match="refused as a decompression bomb"):
        load_keras_proposer(tmp_path / "bomb.keras")


@pytest.mark.parametrize("file", ["variables/variables.data-00000-of-00001", "variables/variables.index"])
def test_cut_variables_of_an_export_are_one_clear_sentence(small_export, tmp_path, file):
    shutil.copytree(small_export / "1", tmp_path / "cut")
    content = (tmp_path / "cut" / file).read_bytes()
    (tmp_path / "cut" / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut.*: not (a SavedModel of zip-keras export|the file that was written)"):
        load_proposer(tmp_path / "cut")
