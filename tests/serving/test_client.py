"""`zip_keras.client` and `zip-keras client` against a running server, which the report's header names."""

import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.serving.servers import BINARY
from zip_keras.cli import main
from zip_keras.client import Answer, Client, Retry, ServerError
from zip_keras.client.transports import connect
from zip_keras.errors import UserError
from zip_keras.export.signatures import SIGNATURES

WITHOUT_TENSORFLOW = """
import sys
for name in ("tensorflow", "keras", "official", "scipy", "matplotlib", "tensorflow_serving"):
    sys.modules[name] = None
from zip_keras.client import Client
server, model, photo = {arguments!r}
with Client(server, model) as client:
    print(len(client.predict(photo)))
"""


@pytest.fixture(scope="module")
def files(encoded_image):
    """Image files of several kinds and sizes."""
    kinds = [("JPEG", 97, 131), ("PNG", 64, 200), ("WEBP", 150, 40), ("GIF", 33, 65), ("BMP", 80, 80), ("JPEG", 1, 1)]
    return [encoded_image(*kind) for kind in kinds]


@pytest.fixture(scope="module")
def expected(signatures, files):
    """The answers of the export in this process."""
    outputs = {name: values.numpy() for name, values in signatures["encoded"](image_bytes=tf.constant(files)).items()}
    return [
        Answer.of_outputs({name: values[[row]] for name, values in outputs.items()}, 1) for row in range(len(files))
    ]


@pytest.fixture(params=["grpc", "rest"])
def client(request, served):
    with Client(getattr(served, request.param), served.name, concurrency=8) as client:
        yield client


def assert_same(found, expected):
    assert isinstance(found, Answer), found
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.levels, expected.levels)
    assert found.classes is None
    assert found.names is None


def test_answers_are_the_exports_in_the_order_of_the_images(client, files, expected, record_property):
    record_property("server", client.server)
    assert max(map(len, expected)) > 0
    for found, one in zip(client.predict_many(files), expected, strict=True):
        assert_same(found, one)


def test_paths_arrays_and_pillow_images_are_sent_too(client, files, expected, tmp_path):
    (tmp_path / "image.png").write_bytes(files[1])
    picture = Image.open(io.BytesIO(files[1]))
    for image in (tmp_path / "image.png", np.asarray(picture), picture, lambda: files[1]):
        assert_same(client.predict(image), expected[1])


def test_a_bad_image_does_not_stop_the_others(client, files, expected):
    images = [files[0], files[0][:200], b"GIF89a\x05\0\x05\0garbage", files[1]]
    answers = list(client.predict_many(images, ["a.jpg", "cut.jpg", "garbage.gif", "b.png"]))
    assert_same(answers[0], expected[0])
    assert_same(answers[3], expected[1])
    for answer, name in zip(answers[1:3], ("cut.jpg", "garbage.gif"), strict=True):
        assert str(answer).startswith(f"{name}: the server cannot decode it")


def test_limits_hold_before_anything_is_sent(files, encoded_image, tmp_path):
    bomb = bytearray(encoded_image("PNG", 4, 4))
    bomb[16:24] = (20_000).to_bytes(4, "big") * 2
    (tmp_path / "large.jpg").write_bytes(files[0])
    with Client("localhost:1", "nobody", max_bytes=len(files[0]) - 1, retry=Retry(attempts=1)) as client:
        for image, reason in (
            (bytes(bomb), "20000 x 20000 pixels"),
            (files[0], "more than the limit"),
            (tmp_path / "large.jpg", "larger than the limit"),
            (b"no image", "does not begin as"),
            (tmp_path / "missing.jpg", "missing.jpg"),
            (np.zeros((3, 4, 4), np.uint8), r"must be uint8 \[H, W, 3\]"),
        ):
            with pytest.raises(UserError, match=reason) as caught:
                client.predict(image)
            assert not isinstance(caught.value, ServerError)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_errors_have_grpcs_codes(served, transport, files):
    address = getattr(served, transport)
    for code, options in (
        ("NOT_FOUND", {"model": "other"}),
        ("NOT_FOUND", {"version": 99}),
        ("DEADLINE_EXCEEDED", {"timeout": 0.002}),
    ):
        with Client(address, **{"model": served.name, **options}) as client, pytest.raises(ServerError) as caught:
            client.predict(files[0])
        assert caught.value.code == code, caught.value
        assert f"image: {address}" in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "http://127.0.0.1:9"])
def test_nobody_listens(address, files):
    started = time.monotonic()
    with Client(address, "small", timeout=1.0) as client, pytest.raises(ServerError, match="is it running") as caught:
        client.predict(files[0])
    assert caught.value.code == "UNAVAILABLE"
    assert time.monotonic() - started < 5


def test_versions(client):
    [one] = client.versions()
    assert (one.version, one.state, one.error) == (1, "AVAILABLE", "")


@pytest.mark.parametrize("address", ["localhost", "ftp://host:1", "http://", "host:port", ""])
def test_wrong_addresses(address):
    with pytest.raises(UserError, match="write HOST:PORT"):
        connect(address, {}, None)


def test_limits_of_a_request(served, files, expected):
    for address in (served.grpc, served.rest):
        least = float(expected[0].scores[5])
        for options in ({"max_boxes": 3}, {"score_threshold": least}, {"max_boxes": 3, "score_threshold": least}):
            with Client(address, served.name, **options) as client:
                found = client.predict(files[0])
            kept = expected[0].scores >= options.get("score_threshold", 0)
            np.testing.assert_allclose(found.scores, expected[0].scores[kept][: options.get("max_boxes")], atol=1e-5)


class Flaky:
    """A transport whose first calls fail."""

    def __init__(self, failures):
        self.failures, self.timeouts = list(failures), []

    def versions(self, model, timeout):
        self.timeouts.append(timeout)
        if self.failures:
            raise ServerError("no", self.failures.pop(0))
        return [(3, "AVAILABLE", "")]


def test_only_what_may_pass_is_tried_again_within_the_deadline():
    client = Client("http://localhost:1", "small", timeout=10, retry=Retry(first=0.01))
    client._transport = flaky = Flaky(["UNAVAILABLE", "ABORTED", "CANCELLED"])
    assert client.versions()[0].version == 3
    assert len(flaky.timeouts) == 4
    assert 10 >= flaky.timeouts[0] > flaky.timeouts[-1] > 9
    client._transport = flaky = Flaky(["INVALID_ARGUMENT", "UNAVAILABLE"])
    with pytest.raises(ServerError):
        client.versions()
    assert len(flaky.timeouts) == 1
    client.timeout, client._transport = 0.2, Flaky(["UNAVAILABLE"] * 1000)
    started = time.monotonic()
    with pytest.raises(ServerError):
        client.versions()
    assert time.monotonic() - started < 1


def test_a_process_without_tensorflow(run_lazily, served, files, expected, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(files[0])
    for address in (served.grpc, served.rest):
        program = WITHOUT_TENSORFLOW.format(arguments=(address, served.name, str(tmp_path / "photo.jpg")))
        assert int(run_lazily(program)) == len(expected[0])


def test_the_command(served, files, expected, tmp_path, capsys):
    assert main(["client", "--server", served.rest, "--model", served.name]) == 0
    assert capsys.readouterr().out == f"{served.name} version 1: AVAILABLE\n"
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, content in enumerate(files):
        (folder / f"{number}.jpg").write_bytes(content)
    (folder / "9.jpg").write_bytes(files[0][:200])
    output = tmp_path / "boxes.json"
    words = ["client", str(folder), "--server", served.grpc, "--model", served.name, "--output", str(output)]
    assert main(words) == 2
    assert f"{Path(folder, '9.jpg')}: the server cannot decode it" in capsys.readouterr().err
    assert not output.exists()
    assert main([*words, "--on-bad-image", "skip"]) == 0
    assert "skipped, cannot be read: 1" in capsys.readouterr().out
    rows = json.loads(output.read_text())
    assert {row["image_id"] for row in rows} == {n for n, answer in enumerate(expected) if len(answer)}
    first = next(row for row in rows if row["image_id"] == 0)
    y1, x1, y2, x2 = expected[0].boxes[0]
    assert first["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
    assert first["level"] == expected[0].levels[0]


def test_classes_and_names_of_a_detector():
    outputs = {
        "boxes": [[[0.0, 0, 4, 4], [1, 1, 2, 2], [0, 0, 0, 0]]],
        "scores": [[0.9, 0.5, 0.0]],
        "levels": [[3, 1, 0]],
        "valid": [[True, True, False]],
        "classes": [[1, 0, 0]],
    }
    for names in ([["dog", "cat", ""]], [[b"dog", b"cat", b""]]):  # by REST and by gRPC
        found = Answer.of_outputs({**outputs, "class_names": names}, 7)
        assert found.names.tolist() == ["dog", "cat"]
        assert found.classes.tolist() == [1, 0]
        assert found.head(1).names.tolist() == ["dog"]


@pytest.mark.parametrize("n", [0, 3])
def test_an_answer_without_boxes(n):
    outputs = {"boxes": [[[0.0] * 4] * n], "scores": [[0.0] * n], "levels": [[0] * n], "valid": [[False] * n]}
    assert Answer.of_outputs(outputs, None).boxes.shape == (0, 4)


def test_the_server_ran_the_warm_up_requests(served):
    log = served.log.read_text()
    if BINARY:
        assert re.search(r"Finished reading warmup data.*Number of warmup records read: 5", log)
    else:
        assert f"loaded {served.name} version 1, {len(SIGNATURES)} warm-up requests" in log
