import pytest

from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError


def test_numbers_are_edges_unless_they_are_said_to_count_pixels(devkit):
    devkit.add("000124", [("dog", 11, 6, 20, 15)])
    (record,) = open_dataset(devkit.train).records
    assert record.boxes.tolist() == [[6, 11, 15, 20]]


def test_one_based_inclusive_pixels_become_continuous(devkit):
    devkit.add("000123", [("dog", 1, 1, 60, 40), ("cat", 11, 6, 20, 15)])
    (record,) = open_dataset(devkit.train, pixels="one_based").records
    assert record.boxes.tolist() == [[0, 0, 40, 60], [5, 10, 15, 20]]  # the first box is the whole 40 x 60 image
    assert record.area.tolist() == [2400, 100]
    assert (record.image_id, record.height, record.width) == (123, 40, 60)


def test_records_follow_the_split_and_classes_are_sorted(devkit):
    for stem, name in (("b", "zebra"), ("a", "ant")):
        devkit.add(stem, [(name, 1, 1, 9, 9)])
    (devkit.folder / "ImageSets/Main/val.txt").write_text("a\n")
    train, val = open_dataset(devkit.train), open_dataset(f"voc:{devkit.folder}:val")
    assert [record.image_id for record in train.records] == ["b", "a"]
    assert train.class_names == val.class_names == ("ant", "zebra")
    assert [record.classes.tolist() for record in train.records] == [[1], [0]]


def test_given_classes_set_the_indices_and_others_are_defects(devkit):
    devkit.add("a", [("ant", 1, 1, 9, 9), ("bee", 1, 1, 9, 9)])
    assert open_dataset(devkit.train, classes=["bee", "ant"]).records[0].classes.tolist() == [1, 0]
    with pytest.raises(UserError, match=r'object 2 has the unknown class "bee"'):
        open_dataset(devkit.train, classes=["ant"])
    skipped = open_dataset(devkit.train, classes=["ant"], on_defect="skip")
    assert (skipped.skipped, len(skipped.records[0].boxes)) == ({"unknown_class": 1}, 1)


def test_a_size_that_is_not_stated_comes_from_the_image(devkit, voc_xml):
    devkit.add("a", [], size=(30, 50), xml=voc_xml("a.jpg", [("dog", 1, 1, 50, 30)], size=None))
    (record,) = open_dataset(devkit.train).records
    assert (record.height, record.width) == (30, 50)


def test_missing_images_and_broken_files_are_named_or_counted(devkit):
    devkit.add("good", [("dog", 1, 1, 9, 9)])
    devkit.add("gone", [("dog", 1, 1, 9, 9)]).unlink()
    devkit.add("broken", [], xml="<annotation>")
    with pytest.raises(UserError, match=r"1 image is not there: .*gone\.jpg;"):
        open_dataset(_without(devkit, "broken"))
    found = open_dataset(devkit.train, on_defect="skip")
    assert [record.image_id for record in found.records] == ["good"]
    assert found.skipped == {"broken_annotation": 1, "missing_image": 1}


def _without(devkit, stem):
    split = devkit.folder / "ImageSets/Main/some.txt"
    split.write_text((split.parent / "train.txt").read_text().replace(f"{stem}\n", ""))
    return f"{devkit.folder}:some"


def test_images_are_not_needed_for_ground_truth(devkit):
    devkit.add("000007", [("dog", 1, 1, 9, 9)]).unlink()
    assert open_dataset(devkit.train, need_images=False).records[0].image_id == 7


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("nothing", "no such split; there are: out, train, twice, all"),
        ("twice", "is listed twice"),
        ("out", "leads out"),
    ],
)
def test_bad_splits_are_explained(devkit, split, message):
    devkit.add("a", [("dog", 1, 1, 9, 9)])
    (devkit.folder / "ImageSets/Main/twice.txt").write_text("a\na\n")
    (devkit.folder / "ImageSets/Main/out.txt").write_text("../../a\n")
    with pytest.raises(UserError, match=message):
        open_dataset(f"{devkit.folder}:{split}")


def test_voc07_opens_without_a_defect(real_data):
    folder = real_data("voc07")
    train, val = open_dataset(f"{folder}:train"), open_dataset(f"{folder}:val")
    assert (len(train), len(val), len(train.class_names)) == (3508, 500, 20)
    assert train.class_names == val.class_names
    assert sum(len(record.boxes) for data in (train, val) for record in data.records) == 12_407


def test_bccd_stops_at_its_zero_boxes_and_skip_counts_them(real_data):
    folder = real_data("bccd")
    with pytest.raises(UserError, match=r'BloodImage_00338\.xml: object 13 \("RBC"\) has xmax 504 <= xmin 504'):
        open_dataset(f"{folder}:trainval")
    found = open_dataset(f"{folder}:trainval", on_defect="skip")
    assert (len(found), found.skipped) == (292, {"zero_size": 2})
    assert found.class_names == ("Platelets", "RBC", "WBC")
