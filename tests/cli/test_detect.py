import json

import keras
import numpy as np
import pytest

from tests.models.test_detectors import one_stage, spread
from zip_keras.cli.main import main
from zip_keras.inference.inputs import ImageFile
from zip_keras.inference.runner import load_image
from zip_keras.models.detector import Detector


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "detector.keras"
    Detector(spread(one_stage()), short_sides=64, long_side=96).save(file)
    return file


@pytest.fixture
def photographs(tmp_path, encoded_image):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "7.png").write_bytes(encoded_image("PNG", 48, 70))
    (folder / "8.jpg").write_bytes(encoded_image("JPEG", 60, 40))
    return folder


def test_detections_of_a_folder(model, photographs, tmp_path, capsys):
    output = tmp_path / "detections.json"
    command = ["detect", str(photographs), "--model", str(model), "--output", str(output)]
    assert main([*command, "--max-detections", "5", "--pictures", str(tmp_path / "pictures")]) == 0
    rows = json.loads(output.read_text())
    assert {row["image_id"] for row in rows} == {7, 8}
    for image_id, name in ((7, "7.png"), (8, "8.jpg")):
        of_image = [row for row in rows if row["image_id"] == image_id]
        found = keras.models.load_model(model)(load_image(ImageFile(image_id, str(photographs / name)))[None])
        assert len(of_image) == 5
        assert [row["category_id"] for row in of_image] == [int(number) + 1 for number in found["classes"][0][:5]]
        np.testing.assert_allclose([row["score"] for row in of_image], found["scores"][0][:5], atol=1e-5)
    assert "1 disc, 2 box, 3 star" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == ["7.jpg", "8.jpg"]

    border = sorted(row["score"] for row in rows)[len(rows) // 2]
    assert main([*command, "--max-detections", "5", "--score-threshold", str(border)]) == 0
    assert json.loads(output.read_text()) == [row for row in rows if row["score"] >= np.float32(border)]


def test_a_proposer_is_refused(small_run, photographs, tmp_path, capsys):
    command = ["detect", str(photographs), "--model", str(small_run), "--output", str(tmp_path / "x.json")]
    assert main(command) == 2
    assert "not a Detector" in capsys.readouterr().err


def test_propose_refuses_a_detector(model, photographs, tmp_path, capsys):
    assert main(["propose", str(photographs), "--model", str(model), "--output", str(tmp_path / "x.json")]) == 2
    assert "holds a Detector" in capsys.readouterr().err
