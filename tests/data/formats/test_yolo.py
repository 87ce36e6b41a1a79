import numpy as np
import pytest
from PIL import Image

from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError


def picture(path, size=(40, 80), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path, **options)


@pytest.fixture
def darknet(tmp_path):
    picture(tmp_path / "obj_train_data/a.jpg")
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    (tmp_path / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.jpg\n")
    (tmp_path / "obj_train_data/a.txt").write_text("1 0.5 0.25 0.5 0.5\n")
    return tmp_path


@pytest.fixture
def ultralytics(tmp_path):
    picture(tmp_path / "images/train/a.jpg")
    picture(tmp_path / "images/train/empty.jpg")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.25 0.5 0.5\n1 0.25 0.5 0.75 0.5 0.5 1.0\n")
    (tmp_path / "data.yaml").write_text("path: elsewhere\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n")
    return tmp_path


def test_darknet(darknet):
    found = open_dataset(f"yolo:{darknet}")
    assert found.class_names == ("cat", "dog")
    (record,) = found.records
    assert record.boxes.tolist() == [[0, 20, 20, 60]]  # 80 wide, 40 high
    assert record.classes.tolist() == [1]


def test_ultralytics_with_a_polygon_and_an_image_without_labels(ultralytics):
    found = open_dataset(f"yolo:{ultralytics}:train")
    first, second = found.records
    assert first.boxes.tolist() == [[0, 20, 20, 60], [20, 20, 40, 60]]
    assert second.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cat 0.5 0.5 0.1 0.1", "line 1 is not a class number and numbers"),
        ("0 0.5 0.5 0.1", "line 1 has 3 numbers"),
        ("9 0.5 0.5 0.1 0.1", 'unknown class "number 9"'),
        ("0 0.5 0.5 0 0.1", "<= xmin"),
        ("0 0.5 0.5 nan 0.1", "not a number"),
        ("0 0.9 0.5 0.4 0.1", "outside the image"),
    ],
)
def test_bad_lines_are_explained(darknet, line, message):
    (darknet / "obj_train_data/a.txt").write_text(line)
    with pytest.raises(UserError, match=message) as error:
        open_dataset(f"yolo:{darknet}")
    assert "a.txt" in str(error.value)


def test_bad_layouts_are_explained(darknet, tmp_path_factory):
    with pytest.raises(UserError, match="neither obj"):
        open_dataset(f"yolo:{tmp_path_factory.mktemp('empty')}")
    with pytest.raises(UserError, match="no split 'test'; there are: train"):
        open_dataset(f"yolo:{darknet}:test")
    (darknet / "train.txt").write_text("/etc/passwd.jpg\n")
    with pytest.raises(UserError, match="leads out of the folder"):
        open_dataset(f"yolo:{darknet}")


@pytest.mark.parametrize("yaml", ["a: [", "- 1", "train: x\nnames: 3", "names: {0: a, 2: b}\ntrain: x"])
def test_bad_yaml_is_explained(ultralytics, yaml):
    (ultralytics / "data.yaml").write_text(yaml)
    with pytest.raises(UserError, match=r"data\.yaml"):
        open_dataset(f"yolo:{ultralytics}")


def test_an_image_that_viewers_turn_is_a_defect(darknet):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(darknet / "obj_train_data/a.jpg", exif=exif)
    with pytest.raises(UserError, match=r"a\.jpg: viewers turn or mirror it \(EXIF orientation 6\)"):
        open_dataset(f"yolo:{darknet}")


@pytest.mark.parametrize(
    "row", ["0 nan 0.5 0.2 0.2", "0 0.5 inf 0.2 0.2", "0 nan 0.1 0.2 0.1 0.2 0.2", "0 0.5 1e999 0.1 0.1"]
)
def test_rows_that_are_not_finite_are_defects(ultralytics, row):
    label = ultralytics / "labels/train/a.txt"
    label.write_text(row + "\n")
    with pytest.raises(UserError, match="has a coordinate that is missing or not a number"):
        open_dataset(f"yolo:{ultralytics}:train")
    assert open_dataset(f"yolo:{ultralytics}:train", on_defect="skip").skipped["unreadable_box"] == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{0: dog, a: cat}", "names must be a list"),
        ("{0: dog, 2: cat}", "names must be a list"),
        ("{true: dog, 0: cat}", "names must be a list"),
        ("[dog, [cat]]", "names must be a list"),
        ("[dog, null]", "names must be a list"),
        ("&a [dog, *a]", "contains itself"),
        ("[" * 100, "nested deeper|not valid YAML"),
        ('["\\ud800"]', "surrogate|not valid YAML"),
    ],
)
def test_names_that_are_none_are_explained(ultralytics, names, message):
    (ultralytics / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    with pytest.raises(UserError, match=rf"data\.yaml: .*({message})"):
        open_dataset(f"yolo:{ultralytics}:train")


def test_a_nul_in_a_list_of_images_is_explained(darknet):
    next(darknet.glob("*.data")).write_text("train = train.txt\nnames = obj.names\n")
    (darknet / "train.txt").write_text("a\0.jpg\n")
    with pytest.raises(UserError, match=r"train\.txt: line 1 holds a NUL"):
        open_dataset(f"yolo:{darknet}")
