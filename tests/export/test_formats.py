"""Every format answers as the Keras model does, is refused where it does not, and runs by its name."""

import shutil
import sys

import keras
import numpy as np
import pytest

import zip_keras
from tests.models.test_detectors import spread, two_stage
from tests.tiny_backbone import TINY_MODEL
from zip_keras.config import DetectionConfig, DetectorConfig
from zip_keras.errors import UserError
from zip_keras.export import formats, verification
from zip_keras.export.formats import FORMATS, FormatOptions
from zip_keras.export.saved_model import export_model
from zip_keras.inference.detectors import DetectionOptions, open_detector
from zip_keras.inference.loading import load_keras_proposer
from zip_keras.inference.model_files import find_model, is_detector, stored_calibration
from zip_keras.inference.options import InferenceOptions
from zip_keras.inference.runner import InferenceRunner
from zip_keras.models.detector import Detector
from zip_keras.models.one_stage import OneStageNetwork

for module in ("onnx", "onnxruntime", "tf2onnx", "openvino", "nncf", "ai_edge_litert"):
    pytest.importorskip(module)

pytestmark = pytest.mark.slow

WRITTEN = [name for name in FORMATS if name != "saved_model"]  # test_saved_model.py
SIZE = (64, 96)
FILES = {
    "onnx": "onnx/model.onnx",
    "onnx_float16": "onnx/model_float16.onnx",
    "openvino": "openvino/model.xml",
    "openvino_bfloat16": "openvino/model_bfloat16.xml",
    "openvino_int8": "openvino/model_int8.xml",
    "litert": "litert/model_64x96.tflite",
}
POSTPROCESS = zip_keras.PostprocessConfig(
    pre_nms_top_n=100,
    nms_iou=0.9,
    post_nms_top_n=100,
    thresholds=(0.9, 0.7, 0.5),
    counts=(120, 40, 10),
    max_proposals=60,
)


@pytest.fixture(scope="module")
def proposer():
    keras.utils.set_random_seed(1)
    network = zip_keras.ProposalNetwork(TINY_MODEL)
    return zip_keras.Proposer(spread(network), POSTPROCESS, short_sides=64, long_side=128)


@pytest.fixture(scope="module")
def exported(proposer, tmp_path_factory):
    """All other formats, and what was said about them."""
    said = []
    images = [batch[0] for batch in verification.verification_batches()]
    options = FormatOptions(litert_sizes=[SIZE], calibration_images=images)
    folder = tmp_path_factory.mktemp("formats") / "tiny"
    return export_model(proposer, folder, formats=WRITTEN, options=options, report=said.append), said


@pytest.fixture(scope="module")
def image():
    return verification.verification_batches()[1][0]


def test_every_format_keeps_its_bound_and_the_readme_says_so(exported):
    folder, said = exported
    assert [comparison.format for comparison in said] == WRITTEN
    text = (folder / "README.md").read_text()
    for comparison in said:
        assert comparison.within
        assert comparison.boxes > 100
        assert f"| {comparison.format} | {comparison.difference:.1e} |" in text


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_file_runs_by_its_name_and_answers_as_the_model(exported, proposer, image, name):
    file = exported[0] / FILES[name]
    found, expected = InferenceRunner(file)(image), InferenceRunner(proposer)(image)
    assert len(expected) == 60
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes[:10], expected.boxes[:10], atol=0.05)
    assert len(InferenceRunner(file, InferenceOptions(max_proposals=7))(image)) == 7
    assert not is_detector(file)
    assert stored_calibration(file) is None


def test_a_litert_file_fits_other_images_into_its_size(exported, proposer, image):
    runner = InferenceRunner(exported[0] / FILES["litert"])
    fitting = np.ascontiguousarray(image[:64, :96])
    found, expected = runner(fitting), InferenceRunner(proposer)(fitting)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    other = runner(image)  # 233 x 151
    assert 10 < len(other) <= 60
    assert (other.boxes >= 0).all()
    assert (other.boxes[:, 2:] <= [233, 151]).all()
    assert other.boxes[:, 2].max() > 150  # the whole height is seen


def test_what_is_inside_of_a_file_cannot_change(exported, proposer, image):
    options = InferenceOptions(short_sides=[96], flip=True)
    for name in ("onnx", "litert"):
        with pytest.raises(UserError, match="resizing and NMS are inside and cannot change"):
            InferenceRunner(exported[0] / FILES[name], options)
    with pytest.raises(UserError, match="lists 60 boxes an image and cannot list 61"):
        InferenceRunner(exported[0] / FILES["onnx"], InferenceOptions(max_proposals=61))
    found, expected = (InferenceRunner(model, options)(image) for model in (exported[0] / FILES["openvino"], proposer))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


def test_weights_are_stored_as_float16(exported):
    import onnx

    graph = onnx.load(exported[0] / FILES["onnx_float16"]).graph
    kinds = {constant.data_type for constant in graph.initializer if np.prod(constant.dims) >= 256}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds


def test_the_graph_is_one_of_inference(exported):
    """Batch norms are part of the convolutions, and nothing is left that only training needs."""
    import onnx

    graph = onnx.load(exported[0] / FILES["onnx"]).graph
    kinds = {node.op_type for node in graph.node}
    assert "Conv" in kinds
    assert "NonMaxSuppression" in kinds | {node.op_type for node in _inner(graph)}
    assert not kinds & {"BatchNormalization", "Dropout", "RandomUniform", "RandomNormal"}


def _inner(graph):
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from attribute.g.node
                yield from _inner(attribute.g)


def test_a_file_needs_its_description_and_its_bytes(exported, tmp_path):
    for name, pattern in (("onnx", r"model\.onnx"), ("openvino", r"model\.bin")):
        folder = shutil.copytree((exported[0] / FILES[name]).parent, tmp_path / name)
        file = folder / (exported[0] / FILES[name]).name
        changed = folder / pattern.replace("\\", "")
        changed.write_bytes(changed.read_bytes()[:-1] + b"?")
        with pytest.raises(UserError, match=rf"{pattern}: not the file that was written"):
            InferenceRunner(file)
        file.with_suffix(".json").write_text("{}")
        with pytest.raises(UserError, match=r"model\.json: damaged"):
            InferenceRunner(file)
        file.with_suffix(".json").unlink()
        with pytest.raises(UserError, match=r"model\.json is missing beside it"):
            InferenceRunner(file)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("onnx", "onnxruntime", "onnx"),
        ("openvino", "openvino", "openvino"),
        ("litert", "ai_edge_litert.interpreter", "litert"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(exported, proposer, monkeypatch, tmp_path, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(UserError, match=rf"needs {module.partition('.')[0]} .*pip install 'zip-keras\[{extra}\]'"):
        InferenceRunner(exported[0] / FILES[name])
    with pytest.raises(UserError, match=rf"--formats {extra}: .*zip-keras\[{extra}\]"):
        export_model(proposer, tmp_path / "new", formats=[name])
    assert not (tmp_path / "new").exists()


def test_no_command_takes_such_a_file_for_a_keras_model(exported):
    with pytest.raises(UserError, match=r"model\.onnx: is no Keras model; name the run"):
        load_keras_proposer(exported[0] / FILES["onnx"])
    assert find_model(exported[0] / FILES["onnx"]) == exported[0] / FILES["onnx"]


def test_a_format_that_answers_otherwise_is_not_published(proposer, tmp_path, monkeypatch):
    def wrong(model, served, folder, options):
        (folder / "model").write_text("x")
        moved = proposer.with_options(short_sides=48)
        yield formats.Written("keras", lambda images: moved(images))

    monkeypatch.setitem(formats._WRITERS, "keras", wrong)
    with pytest.raises(UserError, match=r"keras: 99 % of .* does not answer as the Keras model does"):
        export_model(proposer, tmp_path / "out", formats=["keras"])
    assert list((tmp_path / "out").iterdir()) == []


def one_stage():
    config = DetectorConfig(kind="one_stage", postprocess=DetectionConfig(max_detections=12, pre_nms_top_n=100))
    return OneStageNetwork(TINY_MODEL, None, config, ("disc", "box"))


@pytest.mark.parametrize(("network", "name"), [(one_stage, "openvino"), (two_stage, "onnx")])
def test_detectors_as_files(tmp_path, network, name):
    detector = Detector(spread(network()), short_sides=64, long_side=96)
    file = export_model(detector, tmp_path / "one", formats=[name]) / FILES[name]
    image = verification.verification_batches()[0][0]
    expected = open_detector(detector)(image)
    assert is_detector(file)
    run = open_detector(file)
    assert run.class_names == detector.class_names
    found = run(image)
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-4)
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    assert len(open_detector(file, DetectionOptions(max_detections=3))(image)["scores"]) == 3
    with pytest.raises(UserError, match="holds a detector, not a proposer; `zip-keras detect` runs it"):
        InferenceRunner(file)
    if name == "onnx":
        with pytest.raises(UserError, match="for 12 boxes an image at most; export again"):
            open_detector(file, DetectionOptions(flip=True))


def test_two_stages_are_no_network_with_arithmetic_around_it(tmp_path):
    with pytest.raises(UserError, match="two stages run as onnx and litert"):
        export_model(Detector(two_stage(), short_sides=64), tmp_path / "two", formats=["openvino"])
