import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from zip_keras.data.encoded import read_encoded
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError


def encoded():
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


ROWS = [
    {
        "image": encoded(),
        "image/filename": b"000012.jpg",
        "objects": {
            "bbox": np.array([[0.25, 0.5, 0.5, 1.0]], np.float32),  # ymin, xmin, ymax, xmax
            "label": np.array([1]),
            "is_difficult": np.array([True]),
        },
    },
    {"image": encoded(), "objects": {"bbox": np.zeros((0, 4)), "label": np.zeros(0, int)}},
]


@pytest.fixture
def tfds(monkeypatch, tmp_path):
    """A stand-in for tensorflow_datasets: what cached_records uses of it, without a network."""
    asked = []

    class Builder:
        data_dir = str(tmp_path)
        info = types.SimpleNamespace(features={"objects": {"label": types.SimpleNamespace(names=["cat", "dog"])}})

        def download_and_prepare(self):
            if "offline" in asked[-1]:
                raise ConnectionError("no route to host\nmore")

        def as_dataset(self, split, decoders):
            asked.append(split)
            return ROWS

    module = types.ModuleType("tensorflow_datasets")
    module.builder = lambda name: asked.append(name) or Builder()
    module.as_numpy = lambda rows: rows
    module.decode = types.SimpleNamespace(SkipDecoding=lambda: None)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return asked


def test_a_split_is_converted_once(tfds):
    for _ in range(2):
        found = open_dataset("tfds:voc/2007:train[:10%]")
        assert found.class_names == ("cat", "dog")
        first, second = found.records
        assert (first.image_id, second.image_id) == (12, 1)
        assert first.boxes.tolist() == [[10, 30, 20, 60]]
        assert (first.classes.tolist(), first.difficult.tolist()) == ([1], [True])
        assert read_encoded(first.file, first.offset, first.length) == encoded()
    assert tfds == ["voc/2007", "train[:10%]", "voc/2007"]


def test_defects_of_a_split_are_judged_each_time(tfds, monkeypatch):
    bad = {**ROWS[0], "objects": {"bbox": np.array([[0.5, 0.5, 0.5, 1.0]], np.float32), "label": np.array([1])}}
    monkeypatch.setitem(globals(), "ROWS", [bad])
    for _ in range(2):
        assert open_dataset("tfds:voc/2007:train", on_defect="skip").skipped == {"zero_size": 1}
        with pytest.raises(UserError, match=r"image 0.*"):
            open_dataset("tfds:voc/2007:train")


def test_without_a_network_the_reason_is_given(tfds):
    with pytest.raises(UserError, match=r"tfds:offline:train: .*\(no route to host\)$"):
        open_dataset("tfds:offline:train")


def test_without_the_package_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"needs tensorflow_datasets .*zip-keras\[tfds\]"):
        open_dataset("tfds:voc/2007:train")
    with pytest.raises(UserError, match="which split"):
        open_dataset("tfds:voc/2007")
