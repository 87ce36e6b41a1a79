import pytest

from zip_keras.data.sources import open_dataset, split_spec
from zip_keras.errors import UserError


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("data/voc07:val", ("voc", ["data/voc07", "val"])),
        ("voc:data/voc07:val", ("voc", ["data/voc07", "val"])),
        ("voc:xml:all:images", ("voc", ["xml", "all", "images"])),
        ("instances.json", ("coco", ["instances.json"])),
        ("instances.json:images", ("coco", ["instances.json", "images"])),
        ("coco:x:images", ("coco", ["x", "images"])),
        ("yolo:DIR", ("yolo", ["DIR"])),
        ("tfds:voc/2007:train", ("tfds", ["voc/2007", "train"])),
    ],
)
def test_grammar(spec, parts):
    assert split_spec(spec) == parts


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "no such folder"),
        ("voc:", "no folder or file after voc:"),
        ("nowhere", "no such folder; a data set is DIR:SPLIT, FILE.json, FILE.csv or one of voc, coco"),
        ("nowhere:train", "nowhere: no such folder"),
        ("yolo:nowhere", "neither obj.data"),
        ("coco:nowhere.json", r"nowhere\.json: cannot be read"),
        ("imagenet:nowhere:train", "no Annotations folder"),
        ("records:nowhere", "no TFRecord shards here"),
        ("coco:a.json:b:c", "too many parts; write coco:FILE.json"),
        ("voc:a:b:c:d", "too many parts; write voc:DIR:SPLIT:IMAGE_DIR"),
        ("csv:nowhere.csv", r"nowhere\.csv: cannot be read"),
    ],
)
def test_bad_specs_are_explained(spec, message):
    with pytest.raises(UserError, match=message):
        open_dataset(spec)


def test_a_folder_without_annotations_says_what_is_there(tmp_path):
    with pytest.raises(UserError, match="no images and no annotations"):
        open_dataset(str(tmp_path))


def test_nothing_left_is_an_error_that_says_why(devkit):
    devkit.add("a", [("dog", 1, 1, 9, 9)]).unlink()
    with pytest.raises(UserError, match=r"no image is left \(skipped: \{'missing_image': 1\}\)"):
        open_dataset(devkit.train, on_defect="skip")


def test_all_missing_images_are_named_together(devkit):
    other = other_devkit(devkit)
    devkit.add("there", [("dog", 1, 1, 9, 9)])
    other.add("here", [])
    for folder, first in ((devkit, 0), (other, 6)):
        for number in range(first, first + 6):
            folder.add(f"gone{number}", [("dog", 1, 1, 9, 9)]).unlink()
    with pytest.raises(UserError) as error:
        open_dataset(f"{devkit.train} + {other.train}")
    message = str(error.value)
    assert "12 images are not there" in message
    assert [f"gone{number}.jpg" in message for number in range(12)] == [True] * 10 + [False] * 2
    assert "and 2 more; put them back" in message
    assert "data.on_defect=skip" in message
    with pytest.raises(UserError, match="6 images are not there"):
        open_dataset(f"{devkit.train}@0.5")
    assert len(open_dataset(f"{devkit.train} + {other.train}", need_images=False)) == 14


def test_a_class_name_given_twice_is_refused(devkit):
    devkit.add("a", [])
    with pytest.raises(UserError, match="a class name occurs twice"):
        open_dataset(devkit.train, classes=["dog", "dog"])


def other_devkit(devkit):
    """A second devkit beside it."""
    return type(devkit)(devkit.folder.parent / "other")


def test_joined_data_sets_share_their_class_names(devkit):
    other = other_devkit(devkit)
    devkit.add("a", [("dog", 1, 1, 9, 9), ("cat", 2, 2, 20, 20)])
    other.add("b", [("eel", 3, 3, 30, 30), ("dog", 4, 4, 40, 39)])
    joined = open_dataset(f"{devkit.train} + {other.train}")
    assert joined.class_names == ("cat", "dog", "eel")
    assert [record.image_id for record in joined.records] == ["a", "b"]
    names = [[joined.class_names[index] for index in record.classes] for record in joined.records]
    assert names == [["dog", "cat"], ["eel", "dog"]]
    assert joined.records[1].boxes.tolist() == [[3, 3, 30, 30], [4, 4, 39, 40]]


def test_defects_of_all_joined_data_sets_are_counted_once(devkit):
    other = other_devkit(devkit)
    for folder in (devkit, other):
        folder.add("a" if folder is devkit else "b", [("dog", 1, 1, 9, 9)])
        folder.add("c" if folder is devkit else "d", [("dog", 1, 1, 9, 9)]).unlink()
    assert open_dataset(f"{devkit.train} + {other.train}", on_defect="skip").skipped == {"missing_image": 2}


def test_an_image_in_two_joined_data_sets_is_refused(devkit):
    other = other_devkit(devkit)
    for folder in (devkit, other):
        folder.add("a", [("dog", 1, 1, 9, 9)])
    with pytest.raises(UserError, match=r"image 'a' is in .*devkit:train and in .*other:train"):
        open_dataset(f"{devkit.train} + {other.train}")


def ids(spec):
    return [record.image_id for record in open_dataset(spec).records]


def test_a_share_and_its_rest_are_the_whole(devkit):
    for number in range(20):
        devkit.add(f"{number:06d}", [("dog", 1, 1, 9, 9)] if number else [("cat", 1, 1, 9, 9)])
    whole = f"{devkit.folder}:all"
    train, rest = ids(f"{whole}@0.8"), ids(f"{whole}@0.8-1")
    assert (len(train), len(rest)) == (16, 4)
    assert sorted(train + rest) == list(range(20))
    assert train == sorted(train)  # in the order of the data set
    assert ids(f"{whole}@0.8") == train  # the same each time
    assert sorted(ids(f"{whole}@0.4") + ids(f"{whole}@0.4-0.8")) == train
    other = ids(f"{whole}@0.8,seed=1")
    assert len(other) == 16
    assert other != train
    assert open_dataset(f"{whole}@0.8-1").class_names == ("cat", "dog")
    assert ids(f"{whole}@0.5 + {whole}@0.5-1") == ids(f"{whole}@0.5") + ids(f"{whole}@0.5-1")


@pytest.mark.parametrize("share", ["0", "1.5", "0.8-0.2", "0.5-0.5", "0.001"])
def test_bad_shares_are_explained(devkit, share):
    devkit.add("a", [("dog", 1, 1, 9, 9)])
    with pytest.raises(UserError, match=r"a share is @0\.8|no image of 1 falls into"):
        open_dataset(f"{devkit.train}@{share}")
