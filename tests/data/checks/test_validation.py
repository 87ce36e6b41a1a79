import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zip_keras.data.annotations import ImageAnnotation, ObjectAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.checks.validation import ROUNDING, to_record
from zip_keras.errors import UserError

INDEX = {"cat": 0, "dog": 1}


def image(*corners, name="dog", **options):
    """A 40 x 60 image (height x width)."""
    objects = [ObjectAnnotation(name, c, **options) for c in corners]
    return ImageAnnotation(1, "a.xml", "a.jpg", 40, 60, objects)


def judge(annotation, policy, pixels="continuous"):
    log = DefectLog(policy, "skip")
    record = to_record(annotation, INDEX, pixels, log)
    return [] if record is None else record.boxes.tolist(), log.counts()


@pytest.mark.parametrize(
    ("corners", "kind", "message"),
    [
        ((5, 5, 5, 9), "zero_size", "has xmax 5 <= xmin 5"),
        ((5, 9, 8, 5), "negative_size", "has ymax 5 < ymin 9"),
        ((5, 5, 61, 9), "outside_image", r"\[5 5 61 9\] reaches outside the image of 60 x 40 pixels"),
        ((70, 5, 80, 9), "outside_image", "entirely"),
        ((5, math.nan, 8, 9), "unreadable_box", "missing or not a number"),
        ((5, 5, math.inf, 9), "unreadable_box", "missing or not a number"),
    ],
)
def test_each_defect_of_a_box(corners, kind, message):
    with pytest.raises(UserError, match=message) as error:
        judge(image(corners), "error")
    assert str(error.value).startswith('a.xml: object 1 ("dog")')
    assert "--on-bad-box=skip" in str(error.value)
    assert judge(image(corners), "skip") == ([], {kind: 1})


def test_clip_repairs_what_is_partly_outside():
    found, counts = judge(image((50, -3, 70, 9), (70, 5, 80, 9), (5, 5, 5, 9)), "clip")
    assert found == [[0, 50, 9, 60]]
    assert counts == {"outside_image": 2, "zero_size": 1}


def test_rounding_of_formats_is_no_defect_and_is_set_back():
    assert judge(image((0, 0, 60 + ROUNDING, 40)), "error") == ([[0, 0, 40, 60]], {})


def test_one_based_boxes_start_a_pixel_earlier():
    assert judge(image((1, 1, 60, 40)), "error", "one_based") == ([[0, 0, 40, 60]], {})
    with pytest.raises(UserError, match="outside"):
        judge(image((0, 1, 60, 40)), "error", "one_based")


def test_duplicates_are_the_same_class_and_box():
    same = image((1, 1, 9, 9), (1, 1, 9, 9))
    with pytest.raises(UserError, match=r"object 2 .* duplicate"):
        judge(same, "error")
    assert judge(same, "skip") == ([[1, 1, 9, 9]], {"duplicate_box": 1})
    other = ImageAnnotation(
        1, "a.xml", "a.jpg", 40, 60, [ObjectAnnotation(name, (1, 1, 9, 9)) for name in ("cat", "dog")]
    )
    assert len(judge(other, "error")[0]) == 2


def test_an_unknown_class_names_the_known_ones():
    with pytest.raises(UserError, match=r'unknown class "cow" \(known: cat, dog\)'):
        judge(image((1, 1, 9, 9), name="cow"), "error")


finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(finite, finite, finite, finite), max_size=6), st.sampled_from(["continuous", "one_based"]))
def test_kept_boxes_are_inside_and_the_others_counted(corners, pixels):
    for policy in ("skip", "clip"):
        boxes, counts = judge(image(*corners), policy, pixels)
        for y1, x1, y2, x2 in boxes:
            assert 0 <= y1 < y2 <= 40
            assert 0 <= x1 < x2 <= 60
        lost = len(corners) - len(boxes)
        if policy == "skip":
            assert sum(counts.values()) == lost
        else:  # a clipped box is counted and kept, unless another equals it then
            assert lost <= sum(counts.values()) <= lost + counts.get("outside_image", 0)


def test_unknown_policies_are_refused():
    with pytest.raises(UserError, match="choose one of error, skip, clip"):
        DefectLog(on_box="ignore")
    with pytest.raises(UserError, match="choose one of error, skip, repair"):
        DefectLog(on_image="clip")
