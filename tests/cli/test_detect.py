import functools
import json
from fractions import Fraction

import keras
import numpy as np
import pytest

import zip_keras
from tests.models.test_detectors import NAMES, one_stage, spread
from zip_keras.cli.main import main
from zip_keras.data.synthetic import render_scene
from zip_keras.inference import detectors
from zip_keras.inference.inputs import ImageFile
from zip_keras.inference.runner import load_image
from zip_keras.models.detector import Detector
from zip_keras.predictions.formats import read_predictions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "detector.keras"
    Detector(spread(one_stage()), short_sides=64, long_side=96).save(file)
    return file


@pytest.fixture(scope="module")
def open_once():
    """`open_detector` that loads and traces a model once."""
    return functools.cache(detectors.open_detector)


@pytest.fixture
def photographs(tmp_path, encoded_image):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "7.png").write_bytes(encoded_image("PNG", 48, 70))
    (folder / "8.jpg").write_bytes(encoded_image("JPEG", 60, 40))
    return folder


def test_detections_of_a_folder(model, photographs, tmp_path, capsys, monkeypatch, open_once):
    monkeypatch.setattr(detectors, "open_detector", open_once)
    output = tmp_path / "detections.json"
    command = ["detect", str(photographs), "--model", str(model), "--output", str(output)]
    assert main([*command, "--max-detections", "5", "--pictures", str(tmp_path / "pictures")]) == 0
    rows = json.loads(output.read_text())
    assert {row["image_id"] for row in rows} == {7, 8}
    loaded = keras.models.load_model(model)
    for image_id, name in ((7, "7.png"), (8, "8.jpg")):
        of_image = [row for row in rows if row["image_id"] == image_id]
        found = loaded(load_image(ImageFile(image_id, str(photographs / name)))[None])
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


def test_every_kind_of_file_holds_the_same(model, photographs, tmp_path, capsys, monkeypatch, open_once):
    """Also after an image that could not be read: the others are kept and not run again."""
    monkeypatch.setattr(detectors, "open_detector", open_once)
    (photographs / "9.png").write_bytes(b"no image")
    command = ["detect", str(photographs), "--model", str(model), "--max-detections", "5", "--output"]
    assert main([*command, str(tmp_path / "a.json")]) == 2
    kept = (tmp_path / ".a.json.unfinished").read_bytes()
    assert "2 images are kept" in capsys.readouterr().err
    (photographs / "9.png").write_bytes((photographs / "7.png").read_bytes())
    assert main([*command, str(tmp_path / "a.json")]) == 0
    assert "2 of 3 images are already done" in capsys.readouterr().err
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


@pytest.fixture
def clip(tmp_path):
    """Five frames, five a second."""
    pytest.importorskip("av")
    from zip_keras.inference.video import VideoWriter

    with VideoWriter(tmp_path / "clip.mp4", "mp4", Fraction(5)) as writer:
        for number in range(5):
            writer.write(np.roll(render_scene(seed=0, index=5).image[:80, :120], 9 * number, axis=1))
    return tmp_path / "clip.mp4"


def test_a_video_frame_by_frame(model, clip, tmp_path, capsys, monkeypatch, open_once):
    """Interrupted after two frames, continued, and drawn."""
    from zip_keras.inference.video import Video

    command = ["detect", str(clip), "--model", str(model), "--max-detections", "4", "--output"]
    run, counted = open_once(str(model), detectors.DetectionOptions(max_detections=4)), []

    def stopping(detector):
        assert detector.postprocess_config.max_detections == 4

        def detect(image):
            counted.append(image.shape)
            if len(counted) == 3:
                raise KeyboardInterrupt
            return run(image)

        detect.class_names = run.class_names
        return detect

    monkeypatch.setattr(detectors, "compile_detector", stopping)
    drawn = ["--video", str(tmp_path / "drawn.mp4"), "--pictures-score", "0"]
    assert main([*command, str(tmp_path / "a.json"), *drawn]) == 130
    assert "2 frames are kept" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "a.json"), *drawn]) == 0
    assert len(counted) == 3 + 3
    content = json.loads((tmp_path / "a.json").read_text())
    assert (content["frame_rate"], content["class_names"]) == (5.0, list(NAMES))
    assert [(frame["frame"], frame["time"]) for frame in content["frames"]] == [(i, i / 5) for i in range(5)]
    pixels = [frame.pixels for frame in Video(clip).frames()]
    for image, frame in zip(pixels, content["frames"], strict=True):
        [found] = zip_keras.detect(model, image, max_detections=4)
        assert [row["category"] for row in frame["detections"]] == found.names
        np.testing.assert_array_equal(np.float32([row["score"] for row in frame["detections"]]), found.scores)
    shown = [frame.pixels.astype(int) for frame in Video(tmp_path / "drawn.mp4").frames()]
    assert len(shown) == 5
    assert all(np.abs(new - old).mean() > 2 for new, old in zip(shown, pixels, strict=True))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "clip.mp4", "drawn.mp4"]

    assert main([*command, str(tmp_path / "b.csv"), "--every", "2"]) == 0
    some = read_predictions(str(tmp_path / "b.csv"))
    assert some.image_ids == (0, 2, 4)
    assert some[2].scores.tolist() == [row["score"] for row in content["frames"][2]["detections"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.mp4", "b.jpg"], "a.mp4: a video needs its own output"),
        (["a.mp4", "--pictures", "p"], "--pictures draws images"),
        (["a.jpg", "--video", "v.mp4"], "--video is for a video, and a.jpg is not a video"),
        (["a.jpg", "--every", "2"], "--every is for a video"),
        (["a.mp4", "--video", "v.gif"], "the suffix must be one of .mp4, .mkv"),
        (["none.mp4"], "none.mp4: no video that can be read"),
    ],
)
def test_videos_and_options_that_do_not_go_together(model, words, message, tmp_path, capsys):
    pytest.importorskip("av")
    assert main(["detect", *words, "--model", str(model), "--output", str(tmp_path / "x.json")]) == 2
    assert message in capsys.readouterr().err


def test_a_proposer_is_refused(small_run, photographs, tmp_path, capsys):
    command = ["detect", str(photographs), "--model", str(small_run), "--output", str(tmp_path / "x.json")]
    assert main(command) == 2
    assert "not a Detector" in capsys.readouterr().err


def test_propose_refuses_a_detector(model, photographs, tmp_path, capsys):
    assert main(["propose", str(photographs), "--model", str(model), "--output", str(tmp_path / "x.json")]) == 2
    assert "holds a Detector" in capsys.readouterr().err
