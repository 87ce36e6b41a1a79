import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zip_keras.cli import main
from zip_keras.inference.boxes import Boxes
from zip_keras.inference.loading import load_proposer
from zip_keras.inference.runner import decode_image, load_image
from zip_keras.predictions.formats import read_predictions


@pytest.fixture(scope="module")
def load_once():
    return functools.cache(load_proposer)


@pytest.fixture
def photos(tmp_path, encoded_image):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "000012.jpg").write_bytes(encoded_image("JPEG", 60, 80))
    (folder / "cat.png").write_bytes(encoded_image("PNG", 5, 300, "L"))
    return folder


@pytest.fixture
def proposing(photos, small_run, tmp_path, monkeypatch, load_once):
    """`proposing(more arguments)` proposes for `photos` with a network into out.json and returns the exit code."""
    monkeypatch.setattr("zip_keras.inference.loading.load_proposer", load_once)  # loading takes seconds

    def run(*arguments, output="out.json"):
        words = ["--model", str(small_run), "--output", str(tmp_path / output), *arguments]
        return main(["propose", str(photos), *words])

    return run


@pytest.fixture
def command(photos, tmp_path, monkeypatch):
    """`command(more arguments)`: the same with a model that finds three boxes in every image."""

    def propose(image):
        boxes = np.array([[0, 0, 4, 4], [1, 1, 4, 4], [1, 1, 5, 5]], np.float32)
        return Boxes(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([3, 1, 2], np.int32))

    monkeypatch.setattr("zip_keras.inference.loading.load_proposer", lambda model, options: propose)

    def run(*arguments, paths=(str(photos),), output="out.json"):
        return main(["propose", *paths, "--output", str(tmp_path / output), *arguments])

    return run


@pytest.fixture
def rows(command, tmp_path):
    """`rows(more arguments)`: the rows of out.json."""

    def run(*arguments):
        assert command(*arguments) == 0
        return json.loads((tmp_path / "out.json").read_text())

    return run


def test_the_file_holds_what_the_model_says(proposing, photos, small_propose, small_run, tmp_path, capsys):
    assert proposing() == 0
    rows = json.loads((tmp_path / "out.json").read_text())
    for image_id, file in ((12, "000012.jpg"), ("cat", "cat.png")):
        expected = small_propose(decode_image((photos / file).read_bytes(), file))
        of_image = [row for row in rows if row["image_id"] == image_id]
        y1, x1, y2, x2 = expected.boxes.astype(np.float64).T
        np.testing.assert_allclose([r["bbox"] for r in of_image], np.stack([x1, y1, x2 - x1, y2 - y1], 1), atol=1e-3)
        np.testing.assert_allclose([row["score"] for row in of_image], expected.scores, atol=1e-5)
        assert {row["category_id"] for row in of_image} == {1}
    assert f"{len(rows)} boxes of 2 images" in capsys.readouterr().out
    made_by = json.loads((tmp_path / "out.environment.json").read_text())["made_by"]
    assert made_by["options"]["max_proposals"] is None
    assert made_by["model"][0][0] == str(small_run / "last.keras")


def test_the_suffix_names_the_format_and_the_count_cuts(proposing, photos, tmp_path):
    (photos / "000012.jpg").rename(photos / "dog.jpg")  # this format holds ids of one kind
    assert proposing("--max-proposals", "3", output="out.npz") == 0
    proposals = read_predictions(str(tmp_path / "out.npz"))
    assert {image.image_id: len(image) for image in proposals} == {"cat": 3, "dog": 3}


def test_bad_images_are_named_together_and_the_others_kept(command, photos, tmp_path, monkeypatch, capsys):
    for name in ("broken.jpg", "dark.png"):
        (photos / name).write_bytes(b"\xff\xd8\xff no more")
    (tmp_path / "out.json").write_text("the file of an earlier run")
    assert command() == 2
    error = capsys.readouterr().err
    assert "error: 2 of 4 images cannot be read" in error
    assert error.count("broken.jpg: does not decode") == error.count("dark.png: does not decode") == 2
    assert "--on-bad-image skip" in error.splitlines()[-1]
    assert (tmp_path / "out.json").read_text() == "the file of an earlier run"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.json.unfinished", "out.json", "photos"]
    read = []
    monkeypatch.setattr("zip_keras.inference.runner.load_image", lambda image: read.append(image) or load_image(image))
    assert command("--on-bad-image", "skip") == 0
    assert {Path(image.file).name for image in read} == {"broken.jpg", "dark.png"}  # the others are done
    printed = capsys.readouterr()
    assert "boxes of 2 images" in printed.out
    assert "skipped, cannot be read: 2" in printed.out
    assert "broken.jpg" in printed.err
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == {12, "cat"}
    assert not (tmp_path / ".out.json.unfinished").exists()


def test_an_interrupted_command_continues_with_equal_numbers(command, photos, tmp_path, monkeypatch, capsys):
    assert command("--top", "2") == 0
    expected = (tmp_path / "out.json").read_text()
    (tmp_path / "out.json").unlink()

    def interrupted(image):
        if image.image_id == "cat":
            raise KeyboardInterrupt
        return load_image(image)

    monkeypatch.setattr("zip_keras.inference.runner.load_image", interrupted)
    assert command("--top", "2") == 130
    assert not (tmp_path / "out.json").exists()
    assert "1 images are kept" in capsys.readouterr().err
    monkeypatch.setattr("zip_keras.inference.runner.load_image", load_image)
    assert command("--top", "2") == 0
    assert "1 of 2 images are already done" in capsys.readouterr().err
    assert (tmp_path / "out.json").read_text() == expected


def test_nothing_but_bad_images_is_an_error(command, photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"no image")
    assert command("--on-bad-image", "skip", paths=[str(photos / "broken.jpg")]) == 2
    assert "none of the 1 images can be read" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_an_interrupt_leaves_nothing(command, tmp_path, monkeypatch):
    def interrupt(image):
        raise KeyboardInterrupt

    monkeypatch.setattr("zip_keras.inference.runner.load_image", interrupt)
    assert command() == 130
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_pictures_are_as_wide_as_the_images(command, tmp_path):
    assert command("--pictures", str(tmp_path / "pictures"), "--pictures-count", "4") == 0
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["12.jpg", "cat.jpg"]
    picture = Image.open(tmp_path / "pictures" / "12.jpg")
    assert picture.width == 80
    assert picture.height >= 60  # a legend of levels is below


def test_levels_go_into_the_file_and_colour_the_pictures(rows, tmp_path):
    found = rows("--pictures", str(tmp_path / "pictures"), "--pictures-count", "1")
    assert [row["level"] for row in found] == [3, 1, 2] * 2
    red, green, blue = Image.open(tmp_path / "pictures" / "12.jpg").convert("RGB").getpixel((2, 0))
    assert green > red + 50 > blue  # level 3, which jpeg blurs
    assert green > blue + 50


def test_scores_and_ranks_choose_the_boxes(rows):
    assert [row["score"] for row in rows("--min-score", "0.75")] == pytest.approx([0.9, 0.8] * 2)
    assert [row["score"] for row in rows("--top", "1")] == pytest.approx([0.9] * 2)
    assert [row["score"] for row in rows("--min-score", "0.75", "--top", "3")] == pytest.approx([0.9, 0.8] * 2)


def test_pictures_show_different_boxes_and_scores(rows, tmp_path, monkeypatch):
    drawn = []

    def draw(image, boxes, ground_truth, levels, scores):
        drawn.append((len(boxes), None if scores is None else np.round(scores, 2).tolist()))
        return Image.fromarray(image)

    monkeypatch.setattr("zip_keras.plots.boxes.draw_boxes", draw)
    for extra, expected in (
        ([], (2, None)),  # IoU of the boxes with the first: .56 and .39
        (["--scores"], (2, [0.9, 0.7])),
        (["--pictures-iou", "1"], (3, None)),
        (["--pictures-iou", "1", "--pictures-share", "0.85"], (2, None)),
    ):
        drawn.clear()
        rows("--pictures", str(tmp_path / "pictures"), *extra)
        assert drawn == [expected] * 2


def test_quiet_writes_results_alone(command, capsys):
    assert command("-q") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "6 boxes of 2 images" in printed.out


def test_without_tqdm_progress_is_lines(command, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert command() == 0
    assert "2 of 2 images" in capsys.readouterr().err


def test_without_pillow_pictures_are_refused_and_json_is_not(command, photos, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert command("--pictures", str(tmp_path / "pictures")) == 2
    assert "--pictures: needs PIL" in capsys.readouterr().err
    assert command() == 0
    monkeypatch.chdir(tmp_path)  # without --output pictures are drawn where they can be
    assert main(["propose", str(photos)]) == 0
    assert "no pictures: pictures: needs PIL" in capsys.readouterr().err
    assert json.loads((tmp_path / "proposals.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "out.txt"}, "unknown kind of proposal file '.txt'"),
        ({"paths": ["nowhere"]}, "nowhere: no such image, folder or list"),
    ],
)
def test_bad_arguments_are_one_line(command, arguments, message, capsys):
    assert command(**arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_suppression_is_set_by_name(photos, small_run, tmp_path, capsys):
    def boxes(*fields):
        file = tmp_path / "out.json"
        words = ["--model", str(small_run), "--output", str(file), "--postprocess", *fields]
        return len(json.loads(file.read_text())) if main(["propose", str(photos), *words]) == 0 else None

    assert boxes("nms_iou=0.01") < boxes("nms_iou=0.99", "pre_nms_top_n=null")
    capsys.readouterr()
    assert boxes("nms_iou=high") is None
    assert "--postprocess nms_iou=high: write NAME=VALUE" in capsys.readouterr().err
    assert boxes("nms_iou=0.9", "--postprocess", "nms_iou=0.8") is None
    assert "nms_iou is given twice" in capsys.readouterr().err


@pytest.mark.slow
def test_export_then_propose(small_run, photos, tmp_path, capsys):
    """The way of the README, and the numbers that the export command prints."""
    model = tmp_path / "exported"
    sizes = ["--max-proposals", "20", "--scales", "96"]
    assert main(["export", "--model", str(small_run), "--output", str(model), *sizes]) == 0
    assert f"{model}/1: 20 boxes per image, short side 96, long side 192" in capsys.readouterr().out
    arguments = ["propose", str(photos), "--model", str(model), "--output", str(tmp_path / "out.json")]
    assert main(arguments) == 0
    rows = json.loads((tmp_path / "out.json").read_text())
    assert sum(row["image_id"] == 12 for row in rows) == 20
    assert main([*arguments, "--max-proposals", "21"]) == 2
    assert "lists 20 boxes an image and cannot list 21" in capsys.readouterr().err
    assert main(["export", "--model", str(small_run), "--output", str(model), "--version", "1"]) == 2
    assert "exists already" in capsys.readouterr().err
