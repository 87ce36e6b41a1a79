import json

import numpy as np
import pytest

from zip_keras.errors import UserError
from zip_keras.inference.inputs import find_images
from zip_keras.inference.runner import load_image


@pytest.fixture
def folder(tmp_path, encoded_image):
    """000012.jpg, 7.png, sub/cat.JPG and a file that is no image."""
    for name, kind in (("000012.jpg", "JPEG"), ("7.png", "PNG"), ("sub/cat.JPG", "JPEG")):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded_image(kind, 20, 30))
    (tmp_path / "photos" / "notes.md").write_text("no image")
    return tmp_path / "photos"


def test_a_folder_is_searched_in_the_order_of_paths(folder):
    images, passed_over = find_images([str(folder)])
    assert [image.image_id for image in images] == [12, 7, "cat"]
    assert [image.file for image in images] == [str(folder / n) for n in ("000012.jpg", "7.png", "sub/cat.JPG")]
    assert passed_over == {"files of other kinds": 1}
    assert all(load_image(image).shape == (20, 30, 3) for image in images)


def test_images_keep_the_order_of_the_command_line(folder):
    images, _ = find_images([str(folder / "sub"), str(folder / "000012.jpg")])
    assert [image.image_id for image in images] == ["cat", 12]


def test_a_list_names_images_from_here_or_from_its_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "list.txt").write_text("7.png\n\nphotos/000012.jpg\n" + str(folder / "sub/cat.JPG") + "\n")
    images, _ = find_images(["photos/list.txt"])
    assert [image.image_id for image in images] == [7, 12, "cat"]


def test_a_list_that_names_a_missing_image(folder):
    listed = folder / "list.txt"
    listed.write_text("7.png\ngone.png\n")
    with pytest.raises(UserError, match=r"list\.txt: line 2: no file 'gone\.png'"):
        find_images([str(listed)])
    images, passed_over = find_images([str(listed)], on_bad_image="skip")
    assert ([image.image_id for image in images], passed_over) == ([7], {"missing images": 1})


def test_a_data_set_brings_its_ids_and_boxes(folder):
    annotation = {
        "images": [{"id": 501, "file_name": "7.png", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": 1, "image_id": 501, "category_id": 1, "bbox": [2, 3, 10, 5], "area": 50, "iscrowd": 0},
            {"id": 2, "image_id": 501, "category_id": 1, "bbox": [0, 0, 30, 20], "area": 600, "iscrowd": 1},
        ],
    }
    file = folder / "instances.json"
    file.write_text(json.dumps(annotation))
    (image,), _ = find_images([f"coco:{file}:{folder}"])
    assert image.image_id == 501
    np.testing.assert_array_equal(image.boxes, [[3, 2, 8, 12]])  # no measure counts the crowd
    assert load_image(image).shape == (20, 30, 3)


def test_records_are_images_too(folder, tmp_path):
    from zip_keras.cli import main

    scenes, records = tmp_path / "scenes", tmp_path / "records"
    assert main(["prepare_data", "--synthetic", "12", "--output", str(scenes), "--workers", "1"]) == 0
    assert main(["prepare_data", f"{scenes}:train", "--output", str(records), "--workers", "1"]) == 0
    loose, _ = find_images([f"{scenes}:train"])
    for spec in (str(records), f"records:{records}"):
        shards, _ = find_images([spec])
        assert [image.image_id for image in shards] == [image.image_id for image in loose]
        np.testing.assert_array_equal(load_image(shards[0]), load_image(loose[0]))


def test_two_images_of_one_id_are_named(folder, encoded_image):
    (folder / "sub" / "012.png").write_bytes(encoded_image("PNG", 5, 5))
    with pytest.raises(UserError, match=r"000012\.jpg and .*012\.png: both have the image id 12"):
        find_images([str(folder)])
    with pytest.raises(UserError, match="name each image once"):
        find_images([str(folder / "7.png"), str(folder / "7.png")])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere: no such image, folder or list"),
        ("nowhere:val", "nowhere: no such folder"),
        ("empty", "empty: no image in the folder"),
        ("empty.txt", r"empty\.txt: no image in the list"),
    ],
)
def test_a_path_that_names_nothing(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match=message):
        find_images([path])
