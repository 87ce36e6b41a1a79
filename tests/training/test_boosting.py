"""Features of RoIs on disk, and a boosted detector of two stages."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.models.test_detectors import as_arrays, assert_same, spread, two_stage
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.inference.runner import load_image
from zip_keras.models.detector import Detector
from zip_keras.training.boosting import BoostOptions, fit_ensemble
from zip_keras.training.roi_features import FeatureStore, compile_roi_features, store_features

ROOT = Path(__file__).parents[2]
F = 16 + 32  # of the tiny head: one block of its width, one of twice the width


@pytest.fixture(scope="module")
def detector():
    return Detector(spread(two_stage()), short_sides=64, long_side=96)


@pytest.fixture(scope="module")
def records(rendered_devkit):
    return open_dataset(f"{rendered_devkit}:train").records[:4]


@pytest.fixture(scope="module")
def features_of(detector):
    return compile_roi_features(detector, 16, positive_iou=0.95)  # which no proposal of random weights reaches


@pytest.fixture(scope="module")
def stored(features_of, records, tmp_path_factory):
    store = FeatureStore(tmp_path_factory.mktemp("features") / "new", F, {"model": 1})
    store_features(store, features_of, records, seed=3)
    return store


def test_every_image_gives_features_and_classes(detector, features_of, records, stored):
    features = stored.arrays()[0]
    assert features.shape == (stored.rows, F)
    assert isinstance(features, np.memmap)
    one, of_one = features_of(records[0], load_image(records[0]), 3)
    np.testing.assert_array_equal(features[: len(one)], one)
    assert len(one) == 16
    wanted = records[0].classes[~(records[0].difficult | records[0].crowd)]
    assert sorted(of_one[of_one > 0]) == sorted(wanted + 1)[:4]  # the objects are RoIs themselves
    assert len(wanted) > 0
    assert (of_one == 0).any()
    assert (features.std(axis=0) > 0).mean() > 0.5


def test_features_are_the_means_of_the_blocks(detector):
    """The last block's are those that the network's own scores are made of."""
    head, rng = detector.network.roi_head, np.random.default_rng(0)
    maps = [rng.normal(size=(1, 8 // s, 12 // s, layer.kernel.shape[0])).astype("float32")
            for s, layer in zip((1, 2, 4), head.convolutions, strict=True)]  # fmt: skip
    boxes, levels = np.array([[[4, 4, 40, 50], [0, 0, 20, 20]]], "float32"), np.array([[1, 3]], "int32")
    logits, deltas, features = (np.asarray(x) for x in head(maps, boxes, levels, with_features=True))
    assert features.shape == (1, 2, head.num_features) == (1, 2, F)
    np.testing.assert_allclose(np.asarray(head.score(features[..., -32:])), logits, atol=1e-5)
    plain = head(maps, boxes, levels)
    np.testing.assert_array_equal(plain[0], logits)
    np.testing.assert_array_equal(plain[1], deltas)


def test_a_stopped_stream_goes_on(features_of, records, stored, tmp_path):
    folder, calls = tmp_path / "features", []

    def stops(*arguments):
        calls.append(arguments[0])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return features_of(*arguments)

    with pytest.raises(KeyboardInterrupt):
        store_features(FeatureStore(folder, F, {"model": 1}), stops, records, seed=3)
    with open(folder / "features.float32", "ab") as stream:
        stream.write(b"half a row")
    again = FeatureStore(folder, F, {"model": 1})
    assert again.images == 2
    store_features(again, stops, records, seed=3)
    assert len(calls) == 5
    for found, expected in zip(again.arrays(), stored.arrays(), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(UserError, match="features of another model"):
        FeatureStore(folder, F, {"model": 2})
    again.remove()
    assert FeatureStore(folder, F, {"model": 2}).images == 0
    (folder / "photo.jpg").touch()
    with pytest.raises(UserError, match="other things than features"):
        FeatureStore(folder, F, {"model": 2})


@pytest.fixture(scope="module")
def boosted(detector, stored):
    return detector.with_options(
        ensemble=fit_ensemble(*stored.arrays(), detector.class_names, BoostOptions(trees=10), {"images": 4})
    )


def test_the_ensemble_scores_the_same_boxes(detector, boosted, records):
    images = load_image(records[0])[None]
    resized = detector.resizings[0](images)
    outputs = detector.network(resized)
    _, height, width, _ = resized.shape
    rois = detector.network.proposals(outputs, height, width)
    logits, _, features = detector.network.roi_head(outputs["maps"], rois.boxes, rois.levels, with_features=True)
    expected = boosted.ensemble.class_scores(features, ops.softmax(logits))
    expected = np.asarray(expected)[0, np.asarray(rois.valid[0]), 1:]
    found = detector.network.candidates(outputs, height, width, expected.size, ensemble=boosted.ensemble)
    np.testing.assert_allclose(found.scores[0], np.sort(expected.ravel())[::-1], atol=1e-6)
    assert not np.array_equal(boosted(images)["scores"], detector(images)["scores"])


PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class CoreOnly(MetaPathFinder):  # what `pip install zip-keras` does not bring
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in ("sklearn", "scipy", "PIL", "official", "orbit", "matplotlib", "jsonargparse"):
            raise ImportError(name)

sys.meta_path.insert(0, CoreOnly())
import keras, numpy as np, tensorflow as tf
import zip_keras
import tests.tiny_backbone
folder = sys.argv[1]
images = np.load(f"{folder}/images.npy")
loaded = keras.models.load_model(f"{folder}/boosted.keras")
served = tf.saved_model.load(f"{folder}/exported").signatures["serving_default"](images=images)
found = {f"keras_{name}": np.asarray(x) for name, x in loaded(images).items()}
found.update({f"served_{name}": np.asarray(x) for name, x in served.items()})
np.savez(f"{folder}/found.npz", **found)
"""


@pytest.mark.slow
def test_it_answers_with_the_core_install_alone(boosted, records, tmp_path):
    """From its `.keras` file and from its SavedModel, in a process that has no scikit-learn."""
    images = load_image(records[1])[None]
    np.save(tmp_path / "images.npy", images)
    boosted.save(tmp_path / "boosted.keras")
    module = tf.Module()  # one signature: those of `zip-keras export` take a minute to trace
    module.weights = [variable.value for variable in boosted.variables]
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
    answer = tf.function(lambda images: boosted(images), input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "exported"), signatures=answer)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found, expected = np.load(tmp_path / "found.npz"), as_arrays(boosted(images))
    assert expected["valid"].any()
    for kind in ("keras", "served"):
        assert_same({name: found[f"{kind}_{name}"] for name in expected}, expected)


def test_what_does_not_fit_is_refused(detector, boosted, stored):
    _, classes = stored.arrays()
    with pytest.raises(UserError, match="all of background"):
        fit_ensemble(np.zeros((5, F), np.float32), np.zeros(5, np.int32), detector.class_names)
    with pytest.raises(ValueError, match="takes 48 features and scores 3 classes"):
        detector.with_options(ensemble=fit_ensemble(stored.arrays()[0], np.minimum(classes, 1), ("object", "other"),
                                                    BoostOptions(trees=1)))  # fmt: skip
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(boosted)).ensemble.record == {
        "images": 4
    }
