"""`zip-keras compare` from files to tables."""

import json

import pytest
from scenes import ground_truth, proposals, write_coco

from zip_keras.cli import main
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions

BOX = [10.0, 10.0, 100.0, 100.0]


@pytest.fixture
def arguments(tmp_path):
    truth = ground_truth({i: [BOX] for i in range(30)}, classes=[0] * 15 + [1] * 15, names=("cat", "dog"))
    write_predictions(str(tmp_path / "good.json"), proposals({i: [(BOX, 0.9)] for i in range(30)}))
    write_predictions(str(tmp_path / "half.json"), proposals({i: [(BOX, 0.9)] for i in range(15)}))
    files = [str(tmp_path / name) for name in ("good.json", "half.json")]
    return ["compare", "--ground-truth", write_coco(tmp_path / "gt.json", truth), "--proposals", *files]


def test_tables_verdict_and_picture(arguments, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    extra = ["--by-class", "--seen", "cat", "--plot", str(tmp_path / "c.png"), "--json", str(tmp_path / "r.json")]
    assert main([*arguments, *extra]) == 0
    printed = capsys.readouterr().out
    assert "half: 15 proposals, 15 of 30 images without proposals" in printed
    assert "good is better than half by 0.5000 [" in printed
    assert "| dog | 15 | 1.0000 | 0.0000 |" in printed
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["methods"]["half"]["AR@10"] == 0.5
    assert result["pairs"][0]["difference"]["value"] == 0.5
    assert result["seen_unseen"]["half"]["unseen"]["AR@10"] == 0.0
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_detections(arguments, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    found = Predictions()
    for i in range(30):
        found.add_xywh(i, [BOX], [0.9], [1 + (i >= 15)])
    write_predictions(arguments[4], found)  # the other file has the cats alone
    given = [*arguments[:3], "--detections", *arguments[4:], "--draws", "100"]
    extra = ["--by-class", "--unseen", "dog", "--plot", str(tmp_path / "c.pdf"), "--json", str(tmp_path / "r.json")]
    assert main([*given, *extra]) == 0
    printed = capsys.readouterr().out
    assert "half: 15 detections, 15 of 30 images without detections" in printed
    assert "good is better than half by 0.5000 [" in printed
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["methods"]["half"]["AP50"] == pytest.approx(0.5)
    assert result["pairs"][0]["metric"] == "AP50"
    assert result["seen_unseen"]["half"]["unseen"] == {"objects": 15, "AP": 0.0, "AP50": 0.0, "AP75": 0.0}
    assert result["classes"]["good"]["dog"]["AP"] == pytest.approx(1.0)
    assert (tmp_path / "c.pdf").stat().st_size > 1000


def test_two_equal_files_cannot_be_told_apart(arguments, capsys):
    assert main([*arguments[:4], arguments[4], arguments[4], "--names", "a", "b"]) == 0
    assert "a and b cannot be told apart" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--names", "one"], "2 proposal files but 1 names"),
        (["--names", "one", "one"], "same name"),
        (["--seen", "horse"], "'horse' is no class"),
        (["--plot", "curves.bmp", "--proposals", "gone.json", "gone.npz"], "suffix must be"),  # asked first
        (["--budget", "0"], "at least 1"),
        (["--metric", "AP"], "--metric is for detections"),
    ],
)
def test_bad_arguments(arguments, extra, message, capsys):
    assert main([*arguments, *extra]) == 2
    assert message in capsys.readouterr().err
