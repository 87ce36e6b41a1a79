"""`zip-keras evaluate` from files to printed and written numbers."""

import dataclasses
import json

import pytest
from scenes import ground_truth, proposals, random_detections, random_pair, write_coco

from zip_keras.cli import main
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions

BOX = [10.0, 10.0, 100.0, 100.0]
NAMES = {"AR@10", "AR@100", "AR@500", "AR@1000", "AR@100-S", "AR@100-M", "AR@100-L"}


@pytest.fixture
def files(tmp_path):
    truth = write_coco(tmp_path / "gt.json", ground_truth({1: [BOX], 2: [BOX]}))
    write_predictions(str(tmp_path / "p.json"), proposals({1: [(BOX, 0.9)]}))
    return ["evaluate", "--ground-truth", truth, "--proposals", str(tmp_path / "p.json")]


@pytest.mark.parametrize("protocol", [[], ["--protocol", "coco"], ["--protocol", "fast"], ["--protocol", "hosang"]])
def test_numbers_are_printed_and_written(files, protocol, tmp_path, capsys):
    assert main([*files, *protocol, "--json", str(tmp_path / "result.json")]) == 0
    printed = capsys.readouterr().out
    assert "images without proposals: 1" in printed
    assert "no such object" in printed
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) >= NAMES
    assert (result["AR@10"], result["AR@100-L"], result["AR@100-S"]) == (0.5, 0.5, None)
    assert result["protocol"] == (protocol or ["", "coco"])[1]
    assert result["images_without_proposals"] == 1


def test_every_size_is_a_number_where_the_data_has_it(tmp_path):
    truth, found = random_pair(0)
    arguments = ["--ground-truth", write_coco(tmp_path / "gt.json", truth), "--proposals", str(tmp_path / "p.npz")]
    write_predictions(str(tmp_path / "p.npz"), found)
    assert main(["evaluate", *arguments, "--json", str(tmp_path / "r.json")]) == 0
    assert all(isinstance(json.loads((tmp_path / "r.json").read_text())[name], float) for name in NAMES)


@pytest.mark.parametrize("protocol", ["coco-ap", "fast-ap", "voc07", "voc12"])
def test_detections(files, protocol, capsys):
    detections = [*files[:3], "--detections", files[4], "--protocol", protocol]
    assert main(detections) == 0
    assert "0.5" in capsys.readouterr().out


def test_all_about_detections(tmp_path, capsys):
    """The same numbers on the screen, in the json, in the picture and on the page."""
    pytest.importorskip("matplotlib")
    truth, found = random_detections(2)
    write_predictions(str(tmp_path / "d.json"), found)
    given = ["--ground-truth", write_coco(tmp_path / "gt.json", truth), "--detections", str(tmp_path / "d.json")]
    more = [
        "--on-unknown-class",
        "skip",
        "--by-class",
        "--error-kinds",
        "--unseen",
        "cow",
        "--protocol",
        "fast-ap",
        "--report-images",
        "2",
    ]
    files = [word for name in ("json", "plot", "report") for word in (f"--{name}", str(tmp_path / f"r.{name}"))]
    files[3] = str(tmp_path / "r.png")
    assert main(["evaluate", *given, *more, *files]) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_text())
    assert set(result["classes"]) == {"cat", "dog", "cow"}
    cow, all_of_them = result["classes"]["cow"], result["seen_unseen"]["all"]
    assert result["seen_unseen"]["unseen"] == cow
    assert all_of_them["AP50"] == pytest.approx(result["AP50"])
    assert f"{cow['AP']:.4f}" in printed
    errors = result["error_kinds"]
    assert sum(errors["counts"].values()) > 10
    assert f"{errors['cost']['classification']:.4f}" in printed
    curves = result["curves"]
    assert len(curves["recall"]) == len(curves["precision"]["cat"]["0.75"]) == 101
    assert sum(curves["precision"]["cow"]["0.5"]) / 101 == pytest.approx(cow["AP50"])
    assert (tmp_path / "r.png").stat().st_size > 1000
    assert (tmp_path / "r.report").read_text().count("<figure>") == 2


def test_category_ids_with_gaps(tmp_path, capsys):
    """The json's classes 3, 7 and 5, in this order; a detector numbers them 1, 3 and 2."""
    truth = ground_truth({1: [BOX, [300.0, 300.0, 50.0, 50.0]]}, classes=[0, 1], names=("cat", "dog", "cow"))
    truth = dataclasses.replace(truth, category_ids=(3, 7, 5))
    given = ["evaluate", "--ground-truth", write_coco(tmp_path / "gt.json", truth), "--protocol", "fast-ap"]
    for name, categories in (("data.json", [3, 7]), ("numbers.json", [1, 3])):
        found = Predictions()
        found.add_xywh(1, truth.xywh, [0.9, 0.8], categories)
        write_predictions(str(tmp_path / name), found)
        command = [*given, "--detections", str(tmp_path / name), "--json", str(tmp_path / "r.json")]
        assert main([*command, "--category-ids", name.removesuffix(".json")]) == 0
        assert json.loads((tmp_path / "r.json").read_text())["AP"] == pytest.approx(1.0)
    capsys.readouterr()
    assert main(command) == 2
    assert "category_id 1 is no class" in capsys.readouterr().err
    assert main([*command, "--on-unknown-class", "skip"]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["AP"], result["skipped"]) == (0.0, {"boxes of unknown classes": 1})


def test_proposals_by_class_and_of_classes_that_were_not_seen(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    truth = ground_truth({1: [BOX], 2: [BOX]}, classes=[0, 1], names=("cat", "dog"))
    write_predictions(str(tmp_path / "p.json"), proposals({1: [(BOX, 0.9)]}))
    (tmp_path / "unseen.txt").write_text("dog\n")
    given = ["--ground-truth", write_coco(tmp_path / "gt.json", truth), "--proposals", str(tmp_path / "p.json")]
    more = ["--unseen", str(tmp_path / "unseen.txt"), "--by-class", "--plot", str(tmp_path / "c.svg")]
    assert main(["evaluate", *given, *more, "--json", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["seen_unseen"]["unseen"] == {"objects": 1, "AR@10": 0.0, "AR@100": 0.0}
    assert result["seen_unseen"]["seen"]["AR@10"] == result["classes"]["cat"]["AR@100"] == 1.0
    assert "<svg" in (tmp_path / "c.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--error-kinds"], "--error-kinds is for detections; give the file with --detections"),
        (["--plot", "curves.bmp"], "the suffix must be one of .png, .svg, .pdf"),
        (["--unseen", "horse"], "'horse' is no class of it; its classes are thing"),
        (["--protocol", "voc07"], "choose one of coco, fast, hosang"),
        (["--ground-truth", "missing.json"], "missing.json: cannot be read (No such file or directory)"),
        (["--proposals", "missing.json"], "missing.json: no such file"),
        (["--json", "/dev/null/x.json"], "cannot be written"),
    ],
)
def test_bad_arguments_are_one_line(files, arguments, message, capsys):
    assert main([*files, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_proposals_and_ground_truth_swapped(files, capsys):
    assert main(["evaluate", "--ground-truth", files[4], "--proposals", files[2]]) == 2
    assert "not a COCO instances file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][0].update(image_id=99), "annotation 1 belongs to image 99"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "must be four finite numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3, "4"]), "must be four finite numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4]), "the sides not below 0"),
        (lambda c: c["annotations"][0].update(area=None), "the area None"),
        (lambda c: c["annotations"][0].update(category_id="cat"), "the category_id 'cat'"),
        (lambda c: c["annotations"][0].pop("bbox"), "the box None"),
        (lambda c: c["annotations"][0].pop("image_id"), 'annotations[0] has no "image_id"'),
        (lambda c: c["images"][0].update(id=[1]), 'images[0] has a bad "id"; it must be an integer or a text'),
        (lambda c: c["images"].append({"id": 1}), "has the id 1 of an earlier image"),
        (lambda c: c.update(annotations=[]), "no object to find"),
        (lambda c: c.update(images=3), '"images" is not a list of objects; this must be a COCO instances file'),
    ],
)
def test_broken_ground_truth_is_named(files, change, message, tmp_path, capsys):
    content = json.loads((tmp_path / "gt.json").read_text())
    change(content)
    (tmp_path / "gt.json").write_text(json.dumps(content))
    assert main(files) == 2
    assert message in capsys.readouterr().err


def test_report_of_images_that_are_not_there(files, tmp_path):
    pytest.importorskip("matplotlib")
    assert main([*files, "--report", str(tmp_path / "report.html"), "--report-images", "1"]) == 0
    assert (tmp_path / "report.html").read_text().count("<figure>") == 1


def test_a_devkit_with_its_pictures(voc, tmp_path):
    pytest.importorskip("matplotlib")
    write_predictions(str(tmp_path / "p.json"), proposals({9: [([10, 10, 50, 50], 0.5)]}))
    arguments = ["--ground-truth", f"{voc}:val", "--proposals", str(tmp_path / "p.json"), "--protocol", "fast"]
    assert main(["evaluate", *arguments, "--report", str(tmp_path / "report.html"), "--report-images", "2"]) == 0
    assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == 2


def test_a_gallery_of_a_devkit(voc, tmp_path):
    images = pytest.importorskip("PIL.Image")
    write_predictions(str(tmp_path / "p.json"), proposals({9: [([10, 10, 50, 50], 0.5)]}))
    arguments = ["--ground-truth", f"{voc}:val", "--proposals", str(tmp_path / "p.json"), "--protocol", "fast"]
    for name in ("gallery.jpg", "gallery.png"):
        assert main(["evaluate", *arguments, "--gallery", str(tmp_path / name), "--gallery-images", "1"]) == 0
        with images.open(tmp_path / name) as picture:
            assert (picture.format, picture.width) == ({"jpg": "JPEG", "png": "PNG"}[name[-3:]], 424)


def test_a_gallery_has_to_be_a_picture(files, tmp_path, capsys):
    assert main([*files, "--gallery", str(tmp_path / "gallery.html")]) == 2
    assert "the suffix must be one of .jpg, .jpeg, .png" in capsys.readouterr().err
    assert main([*files, "--gallery", str(tmp_path / "gallery.png"), "--gallery-images", "0"]) == 2


@pytest.mark.parametrize("more", [[], ["--classes", "5"]])
def test_the_benchmark_finds_no_number_that_differs(more, capsys):
    assert main(["benchmark_evaluation", "--images", "8", "--proposals", "40", "--turn", "5", *more]) == 0
    assert "numbers that differ: 0" in capsys.readouterr().out


def test_bad_objects_are_left_out_and_counted(files, tmp_path, capsys):
    content = json.loads((tmp_path / "gt.json").read_text())
    content["annotations"][1]["bbox"] = None
    (tmp_path / "gt.json").write_text(json.dumps(content))
    assert main([*files, "--on-bad-object", "skip", "--json", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["objects"], result["AR@10"]) == (1, 1.0)
    assert result["skipped_annotations"] == {"annotations that are no box": 1}
