"""examples/c: the C program prints what Python computes."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.serving.servers import ROOT


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    """The program, built by its Makefile."""
    for tool in ("cc", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on the PATH")
    program = tmp_path_factory.mktemp("c") / "predict"
    words = ["make", "-C", str(ROOT / "examples/c"), f"PYTHON={sys.executable}", f"OUTPUT={program}", "CFLAGS=-Werror"]
    built = subprocess.run(words, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return program


def test_equal_to_python(predict, small_export, signatures, encoded_image, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encoded_image("JPEG", 97, 131))
    version = str(small_export / "1")
    done = subprocess.run([predict, version, photo], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = np.array([line.split() for line in done.stdout.splitlines()], np.float64)
    found = signatures["encoded"](image_bytes=tf.constant([photo.read_bytes()]))
    valid = found["valid"][0].numpy()
    assert len(rows) == valid.sum() > 0
    np.testing.assert_allclose(rows[:, :4], found["boxes"][0].numpy()[valid], atol=1e-3)
    np.testing.assert_allclose(rows[:, 4], found["scores"][0].numpy()[valid], atol=1e-6)
    np.testing.assert_array_equal(rows[:, 5], found["levels"][0].numpy()[valid])


def test_errors(predict, small_export, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    version = str(small_export / "1")
    for words, code, text in (
        ([version, tmp_path / "broken.jpg"], 3, "no image that the export decodes"),
        ([], 1, "usage: "),
    ):
        done = subprocess.run([predict, *words], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (code, "")
        assert text in done.stderr
