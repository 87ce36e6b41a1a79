"""JAX and PyTorch give TensorFlow's answers, and learn, where TensorFlow cannot be imported."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.models.test_detectors import one_stage, spread, two_stage
from tests.tiny_backbone import TINY_MODEL
from zip_keras.pixels import PADDING
from zip_keras.weights.npz import save_weights

PROGRAM = Path(__file__).with_name("backend_program.py")
BACKENDS = ("jax", "torch")
Image = pytest.importorskip("PIL.Image", reason="Pillow comes with the extra 'train'")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with TensorFlow")


@pytest.fixture(scope="module")
def program():
    """`backend_program` as a module of this process, TensorFlow kept."""
    tensorflow = sys.modules["tensorflow"]
    try:
        spec = importlib.util.spec_from_file_location("backend_program", PROGRAM)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules["tensorflow"] = tensorflow
    return module


@pytest.fixture(scope="module")
def inputs():
    """Two images of odd size with objects, difficult ones and padding; anchors at the edges of the labels."""
    rng = np.random.default_rng(0)
    boxes = np.zeros((2, 8, 4), "float32")
    boxes[0, :3] = [[10, 10, 26, 26], [5, 20, 60, 70], [40, 50, 58, 75]]
    boxes[1, :2] = [[2, 3, 66, 67], [30, 30, 50, 70]]
    classes = np.where(boxes[..., 2] > 0, 0, -1).astype("int32")
    difficult = np.zeros((2, 8), bool)
    difficult[0, 2] = True
    widths = np.array([24, 25, 34, 35, 55, 56, 59, 60, 100], "float32") * 0.64  # IoU with the box at (2, 3)
    anchors = np.stack([np.full(9, 2), np.full(9, 3), np.full(9, 66), 3 + widths], axis=1).astype("float32")
    images = rng.uniform(0, 255, (2, 70, 100, 3)).astype("float32")
    images[1, :, 85:] = PADDING  # to which the last column of F3 belongs
    return {
        "images": images,
        "photographs": rng.integers(0, 256, (2, 60, 80, 3), np.uint8),
        "anchors": anchors,
        "roi_boxes": np.array([[[4, 4, 40, 50], [-9, 20, 12, 75], [0, 0, 70, 100]]] * 2, "float32"),
        "roi_levels": np.array([[1, 2, 3], [2, 1, 1]], "int32"),
        "seeds": np.array([0, 1, -1, 2**31 - 1, -(2**31)], "int32"),
        "y_boxes": boxes,
        "y_classes": classes,
        "y_difficult": difficult,
        "y_crowd": np.zeros((2, 8), bool),
        "y_size": np.array([[70, 100], [70, 85]], "float32"),
        "y_seed": np.array([5, 2**31 - 2], "int32"),
    }


@pytest.fixture(scope="module")
def narrow(program):
    keras.utils.set_random_seed(0)
    return program.ProposalNetwork(program.NARROW, program.TargetConfig(per_class=30))


@pytest.fixture(scope="module")
def small(program):
    keras.utils.set_random_seed(0)
    return program.ProposalNetwork(program.SMALL, program.TargetConfig(per_class=30))


@pytest.fixture(scope="module")
def detectors():
    return {"one_stage": spread(one_stage(model=TINY_MODEL)), "two_stage": spread(two_stage(model=TINY_MODEL))}


@pytest.fixture(scope="module")
def runs(narrow, small, detectors, inputs, tmp_path_factory):
    """The program at work on the other backends, all at once: (process, folder) by backend."""
    started = {}
    for backend in filter(importlib.util.find_spec, BACKENDS):
        folder = tmp_path_factory.mktemp(backend)
        np.savez(folder / "inputs.npz", **inputs)
        for name, network in {"narrow": narrow, "small": small, **detectors}.items():
            save_weights(network, folder / f"{name}.npz")
        for i in range(4):
            pixels = np.full((64, 64, 3), 60 * i, np.uint8)
            pixels[16:48, 16:48] = 255 - 50 * i
            Image.fromarray(pixels).save(folder / f"{i}.png")
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            # The networks are tiny and run a few times: compiling and waiting threads take the time.
            "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
            "OMP_NUM_THREADS": "1",
        }
        with open(folder / "errors.txt", "w") as errors:
            command = [sys.executable, str(PROGRAM), str(folder)]
            started[backend] = subprocess.Popen(command, env=environment, stdout=errors, stderr=errors), folder
    yield started
    for process, _ in started.values():
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def reference(runs, narrow, small, detectors, program, inputs):
    """TensorFlow's answers, while the others work."""
    return {**program.answers(narrow, small, inputs), **program.detector_answers(inputs=inputs, **detectors)}


@pytest.fixture(scope="module", params=[pytest.param(backend, marks=pytest.mark.slow) for backend in BACKENDS])
def results(request):
    """What the program says on another backend."""
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"{request.param} is not installed: pip install {request.param}")
    process, folder = request.getfixturevalue("runs")[request.param]
    request.getfixturevalue("reference")
    assert process.wait() == 0, (folder / "errors.txt").read_text()[-3000:]
    with np.load(folder / "results.npz") as content:
        assert content["backend"] == request.param
        return {name: content[name] for name in content.files}


def test_outputs_equal_those_of_tensorflow(results, reference):
    for name in (f"{kind}_{level}" for kind in ("logits", "deltas") for level in range(3)):
        scale = max(1.0, np.abs(reference[name]).max())
        np.testing.assert_allclose(results[name] / scale, reference[name] / scale, atol=1e-4, err_msg=name)


def test_detectors_give_the_outputs_of_tensorflow(results, reference):
    names = [name for name in reference if name.startswith(("one_stage_", "two_stage_")) and "_found_" not in name]
    assert len(names) == 15  # logits and deltas of three levels, of two stages maps too
    for name in (*names, "roi_logits", "roi_deltas", "roi_features"):
        scale = max(1.0, np.abs(reference[name]).max())
        np.testing.assert_allclose(results[name] / scale, reference[name] / scale, atol=1e-4, err_msg=name)
        assert np.ptp(reference[name]) > 0.01, name


@pytest.mark.parametrize("form", ["one_stage", "two_stage"])
def test_objects_are_found(results, reference, form):
    """The best one; further down a score that differs in its last bit may change places."""
    found = {name: (results[f"{form}_found_{name}"], reference[f"{form}_found_{name}"]) for name in DETECTION}
    np.testing.assert_array_equal(*found["valid"])
    for name, atol in DETECTION.items():
        np.testing.assert_allclose(*(x[:, 0] for x in found[name]), atol=atol, err_msg=name)
    assert (np.diff(found["scores"][0]) <= 0).all()


DETECTION = {"boxes": 0.01, "scores": 1e-4, "classes": 0, "valid": 0, "levels": 0}


def test_losses_equal_those_of_tensorflow(results, reference):
    names = [name for name in reference if name.startswith("loss_")]
    assert len(names) == 12  # one, three kinds at three levels, two of the step
    for name in names:
        np.testing.assert_allclose(results[name], reference[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_recursion_equals_that_of_tensorflow(results, reference):
    names = [name for name in reference if name.startswith("refined_")]
    assert len(names) == 6  # boxes and scores of three levels
    for name in names:
        np.testing.assert_allclose(results[name], reference[name], rtol=1e-4, atol=1e-2, err_msg=name)


def test_labels_and_random_numbers_are_the_same_to_the_bit(results, reference):
    np.testing.assert_array_equal(results["labels"], reference["labels"])
    assert set(reference["labels"].flat) == {-1, 0, 1, 2}
    np.testing.assert_array_equal(results["random"], reference["random"])


def test_images_are_resized_alike(results, reference):
    assert results["resized"].shape == reference["resized"].shape == (2, 30, 40, 3)
    assert np.abs(results["resized"] - reference["resized"]).max() < 0.01  # of 255


def test_proposals_are_made(results, reference):
    boxes, scores = results["proposal_boxes"], results["proposal_scores"]
    assert boxes.shape == (2, 30, 4)
    assert (boxes >= 0).all()
    assert (boxes[..., 2:].max(axis=(0, 1)) <= np.array([60, 80]) * (1 + 1e-6)).all()
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_array_equal(results["proposal_valid"], reference["proposal_valid"])
    # The best box; further down a score that differs in its last bit may change places.
    np.testing.assert_allclose(scores[:, 0], reference["proposal_scores"][:, 0], atol=1e-4)
    np.testing.assert_allclose(boxes[:, 0], reference["proposal_boxes"][:, 0], atol=0.01)


# v = m v - lr (g + wd w) with m .9, lr .1, g .5, wd .01 on the kernel and 0 on the bias; w and v start at 1 and 0:
# v1 = -.1 (.5 + .01) = -.051, w = .949; v2 = .9 (-.051) - .1 (.5 + .00949) = -.096849, w = .852151
CAFFE = [[0.949, 0.95], [0.852151, 0.855]]


def test_decay_is_caffes(program):
    np.testing.assert_allclose(program.caffe_steps()["caffe_steps"], CAFFE, rtol=1e-6)


def test_decay_is_caffes_on_other_backends(results):
    np.testing.assert_allclose(results["caffe_steps"], CAFFE, rtol=1e-6)


def test_fit_learns(results):
    assert np.isfinite(results["epochs"]).all()
    assert results["epochs"][-1] < 0.8 * results["epochs"][0]


def test_classes_are_registered(results):
    assert results["registered"]
