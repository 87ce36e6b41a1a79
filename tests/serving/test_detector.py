"""A detector's export behind a server: labelled boxes by gRPC and REST, and the names in the command."""

import json
from collections import Counter

import numpy as np
import pytest

from tests.models.test_detectors import NAMES
from tests.serving.servers import ModelServer
from zip_keras.cli import main
from zip_keras.client import Client
from zip_keras.inference.detectors import compile_detector
from zip_keras.inference.runner import decode_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tiny_detector_export, tmp_path_factory):
    with ModelServer(tiny_detector_export, tmp_path_factory.mktemp("server") / "log.txt", "shapes") as server:
        yield server


@pytest.fixture(scope="module")
def files(encoded_image):
    return [encoded_image("JPEG", 97, 131), encoded_image("PNG", 64, 150)]


@pytest.fixture(scope="module")
def expected(tiny_detector, files):
    """What the Keras model finds."""
    detect = compile_detector(tiny_detector)
    return [detect(decode_image(content, "image")) for content in files]


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_boxes_have_their_classes_and_names(served, transport, files, expected):
    with Client(getattr(served, transport), served.name) as client:
        answers = list(client.predict_many(files))
    assert len({number for one in expected for number in one["classes"]}) > 1
    for answer, one in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer.boxes, one["boxes"], atol=1e-2)
        np.testing.assert_allclose(answer.scores, one["scores"], atol=1e-4)
        np.testing.assert_array_equal(answer.classes, one["classes"])
        assert answer.names.tolist() == [NAMES[number] for number in one["classes"]]


def test_the_command_names_the_classes(served, files, expected, tmp_path, capsys):
    (tmp_path / "0.jpg").write_bytes(files[0])
    output = tmp_path / "found.json"
    words = ["client", str(tmp_path / "0.jpg"), "--server", served.rest, "--model", served.name]
    assert main([*words, "--output", str(output)]) == 0
    counts = Counter(expected[0]["classes"].tolist())
    listed = ", ".join(f"{number + 1} {NAMES[number]} ({counts[number]})" for number in sorted(counts))
    assert f"category_id and boxes: {listed}\n" in capsys.readouterr().out
    assert Counter(row["category_id"] - 1 for row in json.loads(output.read_text())) == counts
