"""Proposals as csv."""

import csv

import numpy as np
import pytest

from zip_keras.errors import UserError
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import check_ids, read_predictions, write_predictions

HEAD = "image_id,category_id,x,y,width,height,score,level\n"


@pytest.fixture
def file(tmp_path):
    return str(tmp_path / "boxes.csv")


def test_columns_and_numbers_by_hand(file):
    proposals = Predictions()
    proposals.add(12, np.array([[1, 2, 11, 22.5]]), np.array([0.1]), np.array([3]))
    assert write_predictions(file, proposals) == 1
    with open(file, newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert list(row) == HEAD.strip().split(",")
    assert list(row.values()) == ["12", "1", "2.0", "1.0", "20.5", "10.0", "0.1", "3"]


def test_every_digit_and_every_id_comes_back(file):
    rng = np.random.default_rng(0)
    proposals = Predictions()
    for image_id in (7, "cat, dog", 'a "quoted" one', "007", "größe"):
        corner, size = rng.random((5, 2)) * 100, rng.random((5, 2)) * 50
        proposals.add(image_id, np.concatenate([corner, corner + size], 1), rng.random(5), rng.integers(0, 4, 5))
    write_predictions(file, proposals)
    read = read_predictions(file)
    assert read.image_ids == proposals.image_ids
    for part in proposals:
        for name in ("xywh", "scores", "categories", "levels"):
            np.testing.assert_array_equal(getattr(read[part.image_id], name), getattr(part, name))


def test_other_programs_files(file):
    with open(file, "w", encoding="utf-8-sig") as stream:
        stream.write("score, height, width, y, x, colour, image_id\r\n.5,4,3,2,1,red,5\r\n\r\n.6,4,3,2,1,,5\r\n")
    part = read_predictions(file)[5]
    np.testing.assert_array_equal(part.xywh, [[1, 2, 3, 4]] * 2)
    assert (part.scores.tolist(), part.categories.tolist(), part.levels.tolist()) == ([0.6, 0.5], [1, 1], [0, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no column 'image_id'"),
        ("image_id,x,y,width,score\n", "has no column 'height'; the first line must name image_id"),
        ("x,x,y,width,height,score,image_id\n", "has the column 'x' twice"),
        (HEAD + "1,1,0,0,wide,1,1,0\n", "line 2: width is 'wide', not a number"),
        (HEAD + "1,1,0,0,1,1,1,0\n1,1,0,0\n", "line 3: width is 'nothing'"),
        (HEAD + "1,1.5,0,0,1,1,1,0\n", "line 2: category_id is '1.5', not a whole number"),
        (HEAD + "1,1,0,0,1,1,1,-1\n", "line 2: level is '-1', not a whole number from 0"),
        (HEAD + '1,1,0,0,1,1,1,"0\n', "not a csv file: line 2"),
        (HEAD + f"1,{10**30},0,0,1,1,1,0\n", "numbers that are too large"),
    ],
)
def test_faults_are_named(file, content, message):
    with open(file, "w") as stream:
        stream.write(content)
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        read_predictions(file)


def test_a_text_that_looks_like_an_integer_is_refused(file):
    with pytest.raises(UserError, match="'12' is a text, and csv would turn it into an integer"):
        check_ids(file, ["12"])
    check_ids(file, [12, "012", "1.5"])
