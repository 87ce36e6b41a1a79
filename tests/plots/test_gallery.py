"""The gallery: images from the best to the worst, none picked, each with its objects and its recall."""

import numpy as np
import pytest

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.predictions.container import Predictions

pytest.importorskip("PIL")
from zip_keras.plots.boxes import FOUND, MISSED
from zip_keras.plots.gallery import from_best_to_worst, gallery

BOX = [10.0, 20.0, 60.0, 100.0]


def record(image_id, boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    nothing = np.zeros(len(boxes), bool)
    return ImageRecord(
        image_id, "", 100, 200, boxes, np.zeros(len(boxes), np.int32), nothing, nothing, np.ones(len(boxes))
    )


def evaluation(shifts):
    """Image i has one object, and one proposal that lies `shifts[i]` pixels beside it."""
    records = tuple(record(number, [BOX]) for number in range(len(shifts)))
    found = Predictions()
    for number, shift in enumerate(shifts):
        found.add(number, [np.add(BOX, [0, shift, 0, shift])], [0.5])
    return from_dataset(Dataset("data", ("thing",), (*records, record("empty", [])))), found


def grey(image_id):
    return np.full((100, 200, 3), 90, np.uint8)


def pixels(picture, colour):
    return int((np.asarray(picture) == colour).all(axis=-1).sum())


def test_images_are_taken_evenly_by_recall():
    truth, found = evaluation([40, 0, 10, 20, 5])  # IoU 1/3, 1, 7/9, 3/5, 15/17
    assert from_best_to_worst(truth, found, 3) == [(1, 1.0), (2, pytest.approx(0.6)), (0, 0.0)]
    assert [number for number, _ in from_best_to_worst(truth, found, 5)] == [1, 4, 2, 3, 0]
    assert [number for number, _ in from_best_to_worst(truth, found, 99)] == [1, 4, 2, 3, 0]  # each once


def test_objects_are_marked_as_found_or_missed():
    truth, found = evaluation([0])
    all_found = gallery(truth, found, grey)
    assert pixels(all_found.crop((12, 12, 412, 212)), FOUND) > 300
    assert pixels(all_found, MISSED) == 0
    truth, found = evaluation([60])
    assert pixels(gallery(truth, found, grey), MISSED) > 300
    truth, found = evaluation([0])
    assert pixels(gallery(truth, found, grey, shown=0), MISSED) > 300


def test_pictures_stand_in_rows_scaled_to_one_width():
    one, many = (gallery(*evaluation([0] * count), grey, columns=2) for count in (1, 3))
    assert (one.width, many.width) == (12 + 412, 12 + 2 * 412)
    assert many.height == 2 * one.height - 12
    box = np.argwhere((np.asarray(one.crop((12, 12, 412, 212))) == FOUND).all(axis=-1))
    assert (box.min(0).tolist(), box.max(0).tolist()) == ([20, 40], [119, 199])  # BOX, twice as large


def test_images_without_a_picture_are_passed_over():
    truth, found = evaluation([0, 5])
    both = gallery(truth, found, grey)
    assert gallery(truth, found, lambda i: grey(i) if i else None).width == both.width - 412
    with pytest.raises(UserError, match="needs the images themselves"):
        gallery(truth, found, lambda i: None)


def test_no_object_no_gallery():
    truth = from_dataset(Dataset("data", ("thing",), (record("empty", []),)))
    with pytest.raises(UserError, match="no picture"):
        gallery(truth, Predictions(), grey)
