from dataclasses import replace
from pathlib import Path

import pytest

from zip_keras.config import (
    AnchorConfig,
    DataConfig,
    ExperimentConfig,
    LossConfig,
    ModelConfig,
    PostprocessConfig,
    TargetConfig,
    TrainConfig,
    from_dict,
    to_dict,
)
from zip_keras.errors import UserError

pytest.importorskip("jsonargparse", reason="jsonargparse comes with the extra 'train'")
from zip_keras.config.files import config_differences, config_text, read_config


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "experiment.yaml"
        file.write_text(text)
        return file

    return write


def test_defaults_are_those_of_the_method():
    config = read_config(None)
    assert config == ExperimentConfig()
    assert config.targets == TargetConfig(positive_iou=0.6, gray_iou=(0.35, 0.55), negative_iou=0.25, per_class=100)
    assert (config.model.merge, config.model.upsampling, config.model.head_channels) == ("mad", "bilinear", 512)
    assert (config.loss.box, config.model.num_classes, config.targets.ignore_untouched) == ("smooth_l1", 3, False)
    assert (config.train.learning_rate, config.train.momentum, config.train.weight_decay) == (1e-4, 0.9, 5e-4)
    assert (config.train.schedule, config.train.halve_every) == ("halve", 7000)
    table = config.postprocess
    assert table.thresholds == (0.95, 0.90, 0.85, 0.80, 0.75, 0.65, 0.60, 0.55)
    assert table.counts == (2000, 1000, 400, 200, 100, 40, 20, 10)
    assert (table.nms_iou, table.post_nms_top_n, table.max_proposals) == (0.5, 2000, 300)


def test_a_file_changes_what_it_names(written):
    file = written("model:\n  width: 1\n  anchors:\n    ratios: [0.5, 1, 2]\ntargets:\n  gray_iou: [0.25, 0.49]\n")
    config = read_config(file)
    assert config.model == ModelConfig(anchors=AnchorConfig(ratios=(0.5, 1.0, 2.0)))
    assert isinstance(config.model.width, float)
    assert config.targets == TargetConfig(gray_iou=(0.25, 0.49))
    assert config.data == DataConfig()


def test_the_command_line_wins(written):
    file = written("train:\n  steps: 5\n  batch_size: 2\n")
    overrides = ["train.steps=7", "model.anchors.scales=[[8],[16],[32, 64]]", "postprocess.pre_nms_top_n=null"]
    config = read_config(file, overrides)
    assert config.train == TrainConfig(steps=7, batch_size=2)
    assert config.model.anchors.scales == ((8.0,), (16.0,), (32.0, 64.0))
    assert config.postprocess.pre_nms_top_n is None


def test_an_empty_file_is_the_defaults(written):
    assert read_config(written("# nothing\n")) == ExperimentConfig()


def test_what_is_written_reads_back(written):
    config = read_config(None, ["model.merge=se", "train.weights=start.npz", "data.random_short_sides=[100, 200]"])
    assert read_config(written(config_text(config))) == config


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("configs/*.yaml")), ids=lambda file: file.stem)
def test_committed_configs_are_valid(file):
    assert read_config(file).train.steps > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n  merg: mad\n", r"experiment\.yaml: unknown key 'model\.merg'; did you mean 'model\.merge'\?"),
        ("learning_rate: 1\n", r"unknown key 'learning_rate'; did you mean 'train\.learning_rate'\?"),
        ("zzz: 1\n", r"unknown key 'zzz'$"),
        ("train: [1, 2]\n", r"experiment\.yaml: "),
        ("train: 3\n", r"experiment\.yaml: "),
        ("- a\n- b\n", r"experiment\.yaml: must hold sections"),
        ("just words", r"experiment\.yaml: must hold sections"),
        ("model: {width: [\n", r"experiment\.yaml: not valid YAML"),
        ("train:\n  steps: many\n", r"experiment\.yaml: .*train\.steps.*many"),
        ("train:\n  steps: 1.5\n", r"experiment\.yaml: .*train\.steps.*1\.5"),
        ("model:\n  merge: sum\n", r"experiment\.yaml: .*model\.merge.*mad.*sum"),
        ("model:\n  num_classes: 4\n", r"experiment\.yaml: .*model\.num_classes.*4"),
        ("model:\n  width: 0\n", r"experiment\.yaml: width must be above 0, not 0"),
        ("model:\n  width: .nan\n", r"experiment\.yaml: .*width"),
        ("targets:\n  gray_iou: [0.35]\n", r"experiment\.yaml: .*gray_iou"),
    ],
)
def test_a_bad_file_gets_one_clear_error(written, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_config(written(text))
    assert "\n" not in str(error.value)


def test_other_bad_input(tmp_path, written):
    with pytest.raises(UserError, match=r"none\.yaml: no such config file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"'train\.steps' is not of the form section\.key=value"):
        read_config(None, ["train.steps"])
    with pytest.raises(
        UserError, match=r"override 'train.step=1': unknown key 'train.step'; did you mean 'train.steps'"
    ):
        read_config(None, ["train.step=1"])
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"model:\n  backbone: \xff\xfe\n")
    with pytest.raises(UserError, match=r"broken\.yaml: not a UTF-8 text file"):
        read_config(broken)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(zoom_in="half"), "zoom_in must be one of full, released, none, not half"),
        (lambda: ModelConfig(merge="sum"), "merge must be one of mad, conv, spatial_mad, se, add, not sum"),
        (lambda: AnchorConfig(scales=((8.0,), (16.0,))), "three lists, one a level, not 2"),
        (lambda: AnchorConfig(ratios=()), "a ratio, and a scale at one level at least"),
        (lambda: AnchorConfig(scales=((), (), ())), "a ratio, and a scale at one level at least"),
        (lambda: AnchorConfig(ratios=(1.0, -2.0)), "above 0, not -2"),
        (lambda: ModelConfig(deepen=-1), "deepen must not be negative"),
        (lambda: TargetConfig(negative_iou=0.4), "0 <= negative_iou <= gray_iou <= positive_iou <= 1"),
        (lambda: TargetConfig(gray_iou=(0.55, 0.35)), "0 <= negative_iou <= gray_iou <= positive_iou <= 1"),
        (lambda: TargetConfig(per_class=0), "per_class must be above 0"),
        (lambda: PostprocessConfig(counts=(10, 5)), "equally long, not 8 and 2"),
        (lambda: PostprocessConfig(thresholds=(0.5, 0.9), counts=(10, 5)), "thresholds must decrease"),
        (lambda: PostprocessConfig(thresholds=(0.9, 0.5), counts=(5, 10)), "counts must decrease"),
        (lambda: PostprocessConfig(pre_nms_top_n=0), "pre_nms_top_n must be above 0"),
        (lambda: DataConfig(short_side=1200), "short_side 1200 is larger than long_side 1000"),
        (lambda: TrainConfig(dtype="float64"), "dtype must be one of float32, mixed_bfloat16, mixed_float16"),
        (lambda: TrainConfig(steps=0), "steps must be above 0"),
        (lambda: TrainConfig(evaluate_every=0), "evaluate_every must be above 0"),
        (lambda: TrainConfig(seed=-1), "seed must be 0 or more, not -1"),
        (lambda: TrainConfig(momentum=1.0), "momentum must be from 0 to 0.999999, not 1.0"),
        (lambda: DataConfig(random_short_sides=()), r"random_short_sides must be numbers above 0, not \[\]"),
        (lambda: DataConfig(train_images=-3), "train_images must be 0 or more"),
        (lambda: DataConfig(max_boxes=0), "max_boxes must be above 0"),
        (lambda: PostprocessConfig(vote_iou=1.5), "vote_iou must be from 0 to 1, not 1.5"),
        (lambda: LossConfig(box_weight=-1.0), "box_weight must be 0 or more"),
    ],
)
def test_values_that_contradict_each_other_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_dictionaries_round_trip():
    config = replace(ExperimentConfig(), model=ModelConfig(anchors=AnchorConfig(ratios=(1.0,)), width=0.5))
    plain = to_dict(config)
    assert plain["model"]["anchors"]["scales"] == [[16.0, 32.0], [64.0, 128.0], [256.0, 512.0]]
    assert from_dict(ExperimentConfig, plain) == config
    assert from_dict(ModelConfig, {"width": 0.5, "anchors": {"ratios": [1.0]}}) == config.model
    with pytest.raises(ValueError, match=r"ModelConfig has no field \['widht'\]"):
        from_dict(ModelConfig, {"widht": 1})


def test_changes_are_listed():
    after = read_config(None, ["train.steps=7", "model.merge=se"])
    assert config_differences(ExperimentConfig(), after) == ["model.merge: mad -> se", "train.steps: 56000 -> 7"]


BAD_FILES = {
    "an alias of itself": ("train: &a {steps: *a}", "the alias \\*a contains itself"),
    "laughs": (
        "a: &a [x, x]\nb: &b [" + "*a, " * 900 + "]\nc: [" + "*b, " * 900 + "]",
        "more than 200,000 values",
    ),
    "nesting": ("train: " + "[" * 500, "nested deeper than 32"),
    "nothing in a section": ("train: null", "train is None; it must hold keys"),
    "a number for a section": ("model: 3", "model is 3; it must hold keys"),
    "a list for a section": ("model:\n  anchors: [1]", r"model\.anchors is \[1\]; it must hold keys"),
    "a list": ("[1]", "must hold sections"),
    "a number as a key": ("1: 2", "unknown key '1'"),
    "a long number": ("train: {steps: " + "9" * 5000 + "}", "a number of 5000 digits"),
    "half a surrogate pair": ('train: {"\\ud800": 1}', "not valid YAML|surrogate"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_files_that_are_no_configs_are_explained(tmp_path, what):
    content, message = BAD_FILES[what]
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(UserError, match=rf"bad\.yaml: .*({message})"):
        read_config(tmp_path / "bad.yaml")


def test_an_empty_section_changes_nothing(tmp_path):
    (tmp_path / "config.yaml").write_text("train: {}\n")
    assert read_config(tmp_path / "config.yaml") == ExperimentConfig()
