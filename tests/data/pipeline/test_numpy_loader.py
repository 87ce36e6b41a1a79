import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from zip_keras.config import DataConfig
from zip_keras.data.pipeline.numpy_loader import NumpyLoader
from zip_keras.data.pipeline.plan import plan_epoch
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError

Image = pytest.importorskip("PIL.Image", reason="Pillow comes with the extra 'train'")
SETTINGS = DataConfig(resize="fixed", short_side=32, long_side=64, bucket_multiple=16)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """13 smooth JPEG images of sides 40 to 300: the largest are decoded at a half or a quarter."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    records = []
    for number in range(13):
        width, height = (int(side) for side in rng.integers(40, 300, 2))
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        path = folder / f"{number}.jpg"
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(path, quality=95)
        box = np.array([[1, 2, height / 2, width / 2]], np.float32)
        no = np.zeros(1, bool)
        records.append(ImageRecord(number, str(path), height, width, box, np.zeros(1, np.int32), no, no, box[:, 3]))
    return Dataset("made:smooth", ("thing",), tuple(records))


def assert_equals_pipeline(dataset, settings, batches, mean_difference):
    from zip_keras.data.pipeline.tf_data import training_batches

    loader = NumpyLoader(dataset, settings, 4, seed=1)
    other = iter(training_batches(dataset, settings, 4, seed=1))
    for batch in range(batches):
        (image, y), (tf_image, tf_y) = loader[batch], next(other)
        assert y.keys() == tf_y.keys()
        for name in y:
            np.testing.assert_array_equal(y[name], tf_y[name].numpy())
            assert y[name].dtype == tf_y[name].numpy().dtype
        assert image.dtype == np.float32
        assert image.shape == tf_image.shape
        assert np.abs(image - tf_image.numpy()).mean(axis=(1, 2, 3)).max() < mean_difference
        height, width = y["size"][0].astype(int)
        np.testing.assert_array_equal(image[0, height:], tf_image[0, height:])
        np.testing.assert_array_equal(image[0, :, width:], tf_image[0, :, width:])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resize": "dynamic", "dynamic_min_short": 20},
        {"crop": 1.0},
        {"colour_jitter": 0.4},
        {"short_side": 100, "long_side": 160},
    ],
    ids=str,
)
def test_batches_equal_those_of_the_tensorflow_pipeline(images, changes):
    pytest.importorskip("tensorflow")
    assert_equals_pipeline(images, replace(SETTINGS, **changes), batches=3, mean_difference=0.5)


@pytest.mark.skipif("ZIP_KERAS_DATA" not in os.environ, reason="ZIP_KERAS_DATA names no folder with real images")
def test_real_batches_equal_those_of_the_tensorflow_pipeline():
    pytest.importorskip("tensorflow")
    from zip_keras.data.sources import open_dataset

    val = open_dataset(f"{os.environ['ZIP_KERAS_DATA']}/voc07:val")
    assert_equals_pipeline(val, DataConfig(crop=0.5), batches=5, mean_difference=0.5)


class MeanTimesWeight(keras.Model):
    """The least that `fit` trains."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="zeros")

    def call(self, images):
        return keras.ops.mean(images, axis=(1, 2, 3)) * self.scale

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


class NotingLoader(NumpyLoader):
    """Writes down which images each index gave."""

    def __getitem__(self, index):
        image, y = super().__getitem__(index)
        self.served[index] = y["index"].tolist()
        return image, y


def test_fit_walks_through_the_planned_steps(images):
    square = replace(SETTINGS, bucket_multiple=64)  # one shape: on TensorFlow Keras wants that, see NumpyLoader
    loader = NotingLoader(images, square, 4, seed=1, start_step=5)
    loader.served = {}
    model = MeanTimesWeight()
    model.compile(optimizer="sgd")
    history = model.fit(loader, steps_per_epoch=loader.steps_per_epoch, epochs=3, shuffle=False, verbose=0)
    assert len(history.history["loss"]) == 3
    assert loader.steps_per_epoch == 3
    for index in range(9):
        epoch, batch = divmod(5 + index, 3)
        assert loader.served[index] == plan_epoch(images, square, 4, seed=1, epoch=epoch).records[batch].tolist()


def test_batches_do_not_depend_on_what_was_asked_before(images):
    settings = replace(SETTINGS, crop=0.5, colour_jitter=0.2)
    in_order, jumping, late = (NumpyLoader(images, settings, 4, seed=1, start_step=s) for s in (0, 0, 4))
    in_order_batches = [in_order[i] for i in range(6)]
    for (image, y), expected in ((jumping[4], 4), (jumping[0], 0), (jumping[4], 4), (late[0], 4), (late[1], 5)):
        np.testing.assert_array_equal(image, in_order_batches[expected][0])
        np.testing.assert_array_equal(y["seed"], in_order_batches[expected][1]["seed"])


WITHOUT_TENSORFLOW = """
import os, sys
os.environ["KERAS_BACKEND"] = "numpy"
sys.modules["tensorflow"] = None  # importing it fails
import numpy as np
from zip_keras.config import DataConfig
from zip_keras.data.pipeline.numpy_loader import NumpyLoader
from zip_keras.data.records import Dataset, ImageRecord
no = np.zeros(0, bool)
record = ImageRecord(0, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), np.zeros((0, 4), np.float32), no, no, no, no)
image, y = NumpyLoader(Dataset("made", (), (record,)), DataConfig(), 1, seed=0)[0]
print(image.ndim, y["boxes"].shape)
"""


@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="Keras's backend without TensorFlow needs JAX here")
def test_batches_come_without_tensorflow(images):
    record = images.records[0]
    arguments = [record.file, str(record.height), str(record.width)]
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "4 (1, 8, 4)", done.stderr


def only(record):
    return NumpyLoader(Dataset("made:one", ("thing",), (record,)), SETTINGS, 1, seed=0)


def test_a_broken_image_is_named(images, tmp_path):
    cut, text = tmp_path / "cut.jpg", tmp_path / "text.jpg"
    content = Path(images.records[0].file).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    text.write_text("no image")
    for path in (cut, text):
        with pytest.raises(UserError, match=rf"{path.name}: does not decode \(.*\); replace it"):
            only(replace(images.records[0], file=str(path)))[0]


def test_an_image_of_another_size_is_named(images):
    with pytest.raises(UserError, match=r"0\.jpg: is \d+ x \d+ pixels, annotated as"):
        only(replace(images.records[0], height=images.records[0].height * 2))[0]


def test_a_data_set_smaller_than_a_batch_is_refused(images):
    with pytest.raises(UserError, match="13 images do not fill a batch of 14"):
        NumpyLoader(images, SETTINGS, 14, seed=0)
