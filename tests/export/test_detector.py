"""A detector's export answers as the detector does, under our names and those of the Object Detection API."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_detectors import NAMES
from zip_keras.errors import UserError
from zip_keras.inference.detectors import load_keras_detector
from zip_keras.inference.manifest import check_manifest
from zip_keras.inference.model_files import is_detector

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector(tiny_detector):
    return tiny_detector


@pytest.fixture(scope="module")
def exported(tiny_detector_export):
    return tiny_detector_export / "1"


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported))


def test_both_kinds_of_names(detector, signatures, encoded_image):
    encoded = encoded_image("PNG", 48, 70)
    image = tf.io.decode_png(encoded)[None]
    expected = {name: np.asarray(x) for name, x in detector(image).items()}
    found = {name: x.numpy() for name, x in signatures.signatures["serving_default"](images=image).items()}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    valid = expected["valid"]
    assert valid.any()
    np.testing.assert_allclose(found["detection_boxes"] * [48, 70, 48, 70], expected["boxes"], atol=1e-4)
    np.testing.assert_array_equal(found["detection_classes"], expected["classes"] + 1.0)
    np.testing.assert_array_equal(found["detection_scores"], expected["scores"])
    assert found["num_detections"].tolist() == [valid.sum()]

    np.testing.assert_array_equal(found["normalized_boxes"], found["detection_boxes"])
    names = np.where(valid, np.array(NAMES)[expected["classes"]], "")
    assert (found["class_names"].astype(str) == names).all()

    encoded = signatures.signatures["encoded"](image_bytes=tf.constant([b"no image", encoded]))
    assert encoded["decoded"].numpy().tolist() == [False, True]
    assert encoded["num_detections"].numpy().tolist() == [0, valid.sum()]
    np.testing.assert_allclose(encoded["boxes"].numpy()[1], expected["boxes"][0], atol=1e-3)


def test_the_export_carries_the_keras_file_and_the_names(detector, exported):
    assert json.loads((exported / "assets.extra" / "class_names.json").read_text()) == list(NAMES)
    assert is_detector(exported.parent)
    text = (exported / "README.md").read_text()
    assert "0 disc, 1 box, 2 star" in text
    assert "Weights: CC BY 4.0" in text
    assert load_keras_detector(exported.parent).get_config() == detector.get_config()
    assert "Object detection. `best.keras` of a run" in (exported / "assets.extra" / "card.md").read_text()


def test_a_changed_file_of_the_export_is_refused(exported, tmp_path):
    copy = tmp_path / "1"
    shutil.copytree(exported, copy)
    assert check_manifest(copy)["model"]["short_sides"] == 64
    (copy / "assets.extra" / "class_names.json").write_text('["box", "disc", "star"]')
    with pytest.raises(UserError, match=r"class_names\.json"):
        load_keras_detector(copy)
