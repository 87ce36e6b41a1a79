"""Annotations as people have them: what opens without a format's name, and what the error says where nothing does."""

import json

import pytest
from PIL import Image

from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError


def image(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


@pytest.fixture
def xml_file(voc_xml):
    def write(path, name="1.jpg", label="dog"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(voc_xml(name, [(label, 1, 2, 30, 20)]))

    return write


def boxes(spec, **options):
    return {record.image_id: record.boxes.tolist() for record in open_dataset(spec, **options).records}


BOX = [[2, 1, 20, 30]]


@pytest.mark.parametrize(
    ("picture", "annotation"),
    [
        ("a.jpg", "a.xml"),
        ("pictures/a.png", "labels/a.xml"),
        ("deep/pictures/a.jpg", "a.xml"),
        ("Annotations/a.jpg", "Annotations/a.xml"),
        ("images/a.jpg", "Annotations/a.xml"),
    ],
)
def test_xml_beside_or_among_images_in_folders_of_any_name(tmp_path, xml_file, picture, annotation):
    image(tmp_path / picture)
    xml_file(tmp_path / annotation)
    assert boxes(str(tmp_path)) == boxes(f"{tmp_path}:all") == {"a": BOX}


def test_an_image_is_also_found_by_the_name_in_its_xml_file(tmp_path, xml_file):
    image(tmp_path / "pictures" / "shot.jpg")
    xml_file(tmp_path / "labels" / "a.xml", name="shot.jpg")
    assert boxes(str(tmp_path)) == {"shot": BOX}


def test_subfolders_are_splits_that_agree_on_their_classes(tmp_path, xml_file):
    for split, stem, label in (("train", "1", "dog"), ("valid", "2", "cat")):
        image(tmp_path / split / f"{stem}.jpg")
        xml_file(tmp_path / split / f"{stem}.xml", label=label)
    train, valid = open_dataset(f"{tmp_path}:train"), open_dataset(f"{tmp_path}:valid")
    assert [record.image_id for record in (*train.records, *valid.records)] == [1, 2]
    assert train.class_names == valid.class_names == ("cat", "dog")


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path, xml_file):
    for split in ("train", "test"):
        image(tmp_path / "images" / split / "1.jpg", (60, 40) if split == "train" else (90, 40))
    xml_file(tmp_path / "labels" / "test" / "1.xml")
    (record,) = open_dataset(str(tmp_path)).records
    assert record.file.endswith("images/test/1.jpg")
    xml_file(tmp_path / "1.xml")
    with pytest.raises(UserError, match=r"1\.xml may belong to .*1\.jpg or .*1\.jpg; put each XML file beside"):
        open_dataset(str(tmp_path))


TF_CSV = """filename,width,height,class,xmin,ymin,xmax,ymax
a.jpg,60,40,dog,1,2,30,20
a.jpg,60,40,cat,5,5,9,9
b.jpg,60,40,,,,,
"""


def test_csv_of_tensorflow_object_detection(tmp_path):
    for name in "ab":
        image(tmp_path / "train" / f"{name}.jpg")
    (tmp_path / "train" / "_annotations.csv").write_text(TF_CSV)
    expected = {"a": [*BOX, [5, 5, 9, 9]], "b": []}
    for spec in (f"{tmp_path}:train", f"csv:{tmp_path}/train/_annotations.csv", f"{tmp_path}/train/_annotations.csv"):
        assert boxes(spec) == expected
    (tmp_path / "train_labels.csv").write_text(TF_CSV)
    assert boxes(f"{tmp_path}/train_labels.csv") == expected  # the folder `train` beside it
    assert open_dataset(f"{tmp_path}/train_labels.csv").class_names == ("cat", "dog")


def test_csv_of_openimages(tmp_path):
    image(tmp_path / "images" / "0001eeaf.jpg")
    (tmp_path / "boxes.csv").write_text(
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n"
        "0001eeaf,x,/m/0bt9lr,1,0.25,0.75,0.5,1,0,0\n0001eeaf,x,/m/01yrx,1,0,1,0,1,0,1\n"
    )
    (tmp_path / "class-descriptions.csv").write_text('/m/0bt9lr,Dog\n/m/01yrx,"Cat, any"\n')
    dataset = open_dataset(f"{tmp_path}/boxes.csv")
    (record,) = dataset.records
    assert dataset.class_names == ("Cat, any", "Dog")
    assert record.boxes.tolist() == [[20, 15, 40, 45], [0, 0, 40, 60]]
    assert record.crowd.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "its first line is 'x,y'; it must name the columns filename,class"),
        (TF_CSV + "a.jpg,60\n", "line 5 has 2 cells, the first line has 8"),
        (TF_CSV + "../a.jpg,60,40,dog,1,2,3,4\n", r"line 5 has the image '\.\./a\.jpg'"),
        (TF_CSV + "a.jpg,60,40,dog,nan,2,3,4\n", r"object 3 \(\"dog\"\) has a coordinate that is missing"),
        (TF_CSV + "a.jpg,60,40,dog,1e999,2,3,4\n", r"object 3 \(\"dog\"\) has a coordinate that is missing"),
        (TF_CSV + "c.jpg,60,40,dog,1,2,3,4\n", r"1 image is not there: .*c\.jpg;"),
        (TF_CSV.partition("\n")[0], "has no rows below its first line"),
        (TF_CSV + 'a.jpg,60,40,"dog', r"line \d is not csv"),
        (TF_CSV + "a.jpg,60,40,do\0g,1,2,3,4", "line 5 holds a NUL"),
    ],
)
def test_bad_csv_files_are_explained(tmp_path, text, message):
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        open_dataset(f"{tmp_path}/boxes.csv")


def test_a_coco_json_in_a_split_folder(tmp_path):
    image(tmp_path / "train" / "a.jpg")
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 60, "height": 40}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 29, 18]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "train" / "_annotations.coco.json").write_text(json.dumps(content))
    assert boxes(f"{tmp_path}:train") == {7: BOX}


def test_yolo_is_recognised_and_without_its_yaml_explained(tmp_path):
    image(tmp_path / "images" / "a.jpg", (100, 100))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    with pytest.raises(UserError, match=r"found 1 images in images, 1 text files in labels; .*data\.yaml .*yolo:"):
        open_dataset(str(tmp_path))
    (tmp_path / "data.yaml").write_text("train: images\nnames: [dog]\n")
    assert boxes(str(tmp_path)) == boxes(f"{tmp_path}:train") == {"a": [[30, 40, 70, 60]]}


def test_errors_say_what_is_there_and_which_spec_works(tmp_path, xml_file, devkit):
    image(tmp_path / "pictures" / "a.jpg")
    with pytest.raises(UserError, match="found 1 images in pictures, but no annotations"):
        open_dataset(str(tmp_path))
    xml_file(tmp_path / "labels" / "a.xml")
    with pytest.raises(
        UserError, match=r"no split 'train': .*found 1 images in pictures, 1 XML files in labels; write"
    ) as error:
        open_dataset(f"{tmp_path}:train")
    for word in str(error.value).split():
        if word.startswith(str(tmp_path)) and "all" in word and "@0.8-1" not in word and "@0.8" not in word:
            assert open_dataset(word.strip(",;"))
    devkit.add("a", [("dog", 1, 1, 9, 9)])
    with pytest.raises(UserError, match=r"which split\? Write .*devkit:train; there are: train, all"):
        open_dataset(str(devkit.folder))
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("one", "two"):
        (tables / f"{name}.csv").write_text(TF_CSV)
    with pytest.raises(UserError, match=r"which file\? .*csv:.*one\.csv, csv:.*two\.csv"):
        open_dataset(str(tables))
