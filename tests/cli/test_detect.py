import json

import keras
import numpy as np
import pytest

import zip_keras
from tests.models.test_detectors import NAMES, one_stage, spread
from zip_keras.cli.main import main
from zip_keras.inference.inputs import ImageFile
from zip_keras.inference.runner import load_image
from zip_keras.models.detector import Detector
from zip_keras.predictions.formats import read_predictions


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
        [same] = zip_keras.detect(model, photographs / name, max_detections=5)
        assert same.names == [NAMES[row["category_id"] - 1] for row in of_image]
        np.testing.assert_array_equal(same.scores, np.float32([row["score"] for row in of_image]))
        assert [row["category_id"] for row in of_image] == [int(number) + 1 for number in found["classes"][0][:5]]
        np.testing.assert_allclose([row["score"] for row in of_image], found["scores"][0][:5], atol=1e-5)
    assert "1 disc, 2 box, 3 star" in capsys.readouterr().out
    assert sorted(file.name for file in (tmp_path / "pictures").iterdir()) == ["7.jpg", "8.jpg"]

    border = sorted(row["score"] for row in rows)[len(rows) // 2]
    assert main([*command, "--max-detections", "5", "--score-threshold", str(border)]) == 0
    assert json.loads(output.read_text()) == [row for row in rows if row["score"] >= np.float32(border)]


def test_every_kind_of_file_holds_the_same(model, photographs, tmp_path, capsys):
    """Also after an image that could not be read: the others are kept and not run again."""
    (photographs / "9.png").write_bytes(b"no image")
    command = ["detect", str(photographs), "--model", str(model), "--max-detections", "5", "--output"]
    assert main([*command, str(tmp_path / "a.json")]) == 2
    kept = (tmp_path / ".a.json.unfinished").read_bytes()
    assert "2 images are kept" in capsys.readouterr().err
    (photographs / "9.png").write_bytes((photographs / "7.png").read_bytes())
    assert main([*command, str(tmp_path / "a.json")]) == 0
    assert "2 of 3 images are done already" in capsys.readouterr().err
    assert not (tmp_path / ".a.json.unfinished").exists()
    assert kept.count(b"\n") == 3

    expected = read_predictions(str(tmp_path / "a.json"))
    assert expected.count == 15
    np.testing.assert_array_equal(expected[9].xywh, expected[7].xywh)
    for name in ("b.csv", "b.npz"):
        assert main([*command, str(tmp_path / name)]) == 0
        for part in read_predictions(str(tmp_path / name)):
            for column in ("xywh", "scores", "categories", "levels"):
                np.testing.assert_array_equal(getattr(part, column), getattr(expected[part.image_id], column))


def test_a_proposer_is_refused(small_run, photographs, tmp_path, capsys):
    command = ["detect", str(photographs), "--model", str(small_run), "--output", str(tmp_path / "x.json")]
    assert main(command) == 2
    assert "not a Detector" in capsys.readouterr().err


def test_propose_refuses_a_detector(model, photographs, tmp_path, capsys):
    assert main(["propose", str(photographs), "--model", str(model), "--output", str(tmp_path / "x.json")]) == 2
    assert "holds a Detector" in capsys.readouterr().err
