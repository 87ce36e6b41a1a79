import contextlib
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError


def content():
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 40, "width": 60},
            {"id": "odd", "file_name": "a.png", "height": 40, "width": 60},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10.5, 5, 20, 10], "area": 123.5, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 60, 40], "iscrowd": 1, "segmentation": {}},
        ],
    }


@pytest.fixture
def write(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")

    def write(data) -> str:
        path = tmp_path / "instances.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(path)

    return write


def test_boxes_crowd_area_and_empty_images(write):
    found = open_dataset(write(content()))
    assert found.class_names == ("person", "toothbrush")  # by category id
    first, second = found.records
    assert (first.image_id, second.image_id) == (7, "odd")
    assert first.boxes.tolist() == [[5, 10.5, 15, 30.5], [0, 0, 40, 60]]
    assert first.classes.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True]
    assert first.area.tolist() == [123.5, 2400]  # the annotation's, else the box's
    assert second.boxes.shape == (0, 4)
    assert first.file.endswith("images/b.png")


def changed(where, value):
    data = content()
    target = data
    for key in where[:-1]:
        target = target[key]
    target[where[-1]] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[1]", "not a COCO instances file"),
        ("{", "not valid json"),
        (changed(["images"], 3), '"images" is not a list of objects'),
        (changed(["images", 0, "file_name"], "../b.png"), "leads out of the image folder"),
        (changed(["images", 0, "file_name"], 3), r'images\[0\] has a bad "file_name"'),
        (changed(["images", 1, "id"], 7), r"images\[1\] has the id 7 of an earlier image"),
        (changed(["images", 0, "height"], -1), 'image 7 has "height" -1'),
        (changed(["categories", 1, "id"], 90), "has the id or name of an earlier"),
        (changed(["annotations", 0, "image_id"], 8), r"annotations\[0\] \(id 1\) has the image_id 8"),
        (changed(["annotations", 0, "category_id"], 8), 'unknown class "category 8"'),
        (changed(["annotations", 0, "bbox"], [1, 2, 3]), "missing or not a number"),
        (changed(["annotations", 0, "bbox"], [1, 2, 0, 5]), "has xmax 1 <= xmin 1"),
        (changed(["annotations", 0, "bbox"], [50, 2, 20, 5]), "reaches outside the image"),
        (changed(["images", 0, "file_name"], "c.png"), r"1 image is not there: .*c\.png;"),
    ],
)
def test_bad_files_are_explained(write, data, message):
    with pytest.raises(UserError, match=message) as error:
        open_dataset(write(data))
    assert "instances.json" in str(error.value)


def test_clip_sets_a_box_onto_the_edge_and_counts_it(write):
    found = open_dataset(write(changed(["annotations", 0, "bbox"], [50, 2, 20, 5])), on_defect="clip")
    assert found.records[0].boxes[0].tolist() == [2, 50, 7, 60]
    assert found.skipped == {"outside_image": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 100) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "bbox", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = [
    [key] for key in ("images", "annotations", "categories")
] + [["annotations", 0, key] for key in content()["annotations"][0]] + [
    ["images", 0, key] for key in content()["images"][0]
] + [["categories", 0, key] for key in ("id", "name")]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.sampled_from(PLACES), JSON)
def test_any_value_anywhere_opens_or_gives_a_user_error(write, where, value):
    with contextlib.suppress(UserError):
        open_dataset(write(changed(where, value)))


def test_coco_tiny(real_data):
    folder = real_data("coco_tiny") / "annotations"
    train = open_dataset(f"{folder / 'instances_train2017.json'}")
    val = open_dataset(f"coco:{folder / 'instances_val2017.json'}")
    assert (len(train), len(val)) == (32, 6)
    assert sum(len(r.boxes) == 0 for r in train.records) == 2
    assert [sum(len(r.boxes) for r in data.records) for data in (train, val)] == [288, 136]
    raw = json.loads((folder / "instances_train2017.json").read_text())
    assert sum(int(r.crowd.sum()) for r in train.records) == sum(a["iscrowd"] for a in raw["annotations"])
    assert sum(float(r.area.sum()) for r in train.records) == pytest.approx(sum(a["area"] for a in raw["annotations"]))


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1" + "0" * 400, "NaN", "1e999"])
def test_a_number_beyond_every_float_is_a_defect_of_its_object(write, number):
    text = json.dumps(changed(["annotations", 0, "bbox"], [1, 2, "NUMBER", 5])).replace('"NUMBER"', number)
    with pytest.raises(UserError, match="missing or not a number"):
        open_dataset(write(text))
    text = json.dumps(changed(["annotations", 0, "area"], "NUMBER")).replace('"NUMBER"', number)
    assert np.isfinite(open_dataset(write(text)).records[0].area).all()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images": [' * 30_000, '{"images": ["\\ud800"]}', "1" * 5000])
def test_json_bombs_are_explained(write, text):
    with pytest.raises(UserError, match=r"instances\.json: "):
        open_dataset(write(text))


def test_a_pipe_is_no_annotation_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match=r"pipe\.json: cannot be read \(it is not a regular file\)"):
        open_dataset(str(tmp_path / "pipe.json"))
