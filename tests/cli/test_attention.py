import json

import numpy as np
import pytest
from PIL import Image

import zip_keras
from zip_keras.cli import main

pytest.importorskip("matplotlib")


@pytest.fixture
def photos(tmp_path, encoded_image):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "000012.jpg").write_bytes(encoded_image("JPEG", 60, 80))
    (folder / "mu.png").write_bytes(encoded_image("PNG", 50, 70, "L"))
    return folder


@pytest.fixture
def command(photos, mad_proposer, small_run, tmp_path, monkeypatch):
    """`command(more arguments)` writes into DIR/out and returns the exit code."""
    monkeypatch.setattr("zip_keras.inference.loading.load_keras_proposer", lambda model: mad_proposer)

    def run(*arguments, paths=(str(photos),)):
        words = ["--model", str(small_run), "--output", str(tmp_path / "out"), *arguments]
        return main(["attention", *paths, *words])

    return run


def test_a_picture_of_every_image_and_all_vectors(command, tmp_path, capsys):
    assert command("--maps", "2") == 0
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "12.png", "environment.json", "image_mu.png", "mu.json", "mu.npz", "mu.png"
    ]  # fmt: skip
    assert Image.open(out / "12.png").width == 1600
    with np.load(out / "mu.npz") as archive:
        assert archive["image_ids"].tolist() == ["12", "mu"]
        shapes = {name: archive[name].shape for name in archive.files if name != "image_ids"}
        mean = archive["level_2_H"].mean()
    assert shapes == {"level_1_F": (2, 48), "level_1_H": (2, 48), "level_2_F": (2, 80), "level_2_H": (2, 80)}
    numbers = json.loads((out / "mu.json").read_text())
    assert (numbers["images"], numbers["level_2_H"]["mean"]) == (2, pytest.approx(mean, rel=1e-6))
    printed = capsys.readouterr().out
    assert "mu of 2 images, 2 pictures" in printed
    assert [line.split()[:3] for line in printed.splitlines() if line.startswith("  level")] == [
        ["level", level, stream] for level in "12" for stream in "FH"
    ]
    assert f"{mean:.3f}" in printed.split("level 2 H")[1].split()[0]


def test_one_image_is_not_compared(command, photos, tmp_path, capsys):
    assert command("--pictures", "0", paths=[str(photos / "000012.jpg")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["environment.json", "mu.json", "mu.npz"]
    assert json.loads((tmp_path / "out" / "mu.json").read_text())["level_1_F"]["correlation"] is None
    assert "correlation" not in capsys.readouterr().out


@pytest.mark.slow
def test_bad_images_stop_or_are_counted(command, photos, capsys):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    assert command("--pictures", "0") == 2
    assert "--on-bad-image skip" in capsys.readouterr().err.splitlines()[-1]
    assert command("--pictures", "0", "--on-bad-image", "skip") == 0
    assert "skipped, cannot be read: 1" in capsys.readouterr().out
    assert command("--on-bad-image", "skip", paths=[str(photos / "broken.jpg")]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--maps", "0"], "--maps must be at least 1"),
        (["--pictures", "-1"], "--pictures must be at least 0"),
    ],
)
def test_numbers_that_cannot_be(command, arguments, message, capsys):
    assert command(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_model_without_map_attention_is_named(photos, tmp_path, capsys):
    config = zip_keras.ModelConfig(width=0.125, head_channels=16, zoom_in="released", merge="conv")
    zip_keras.Proposer(zip_keras.ProposalNetwork(config)).save(tmp_path / "conv.keras")
    arguments = ["--model", str(tmp_path / "conv.keras"), "--output", str(tmp_path / "out")]
    assert main(["attention", str(photos), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "conv.keras: has no map attention: it merges F and H by model.merge=conv" in error
    assert not (tmp_path / "out").exists()
