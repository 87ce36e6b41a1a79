"""A data set without some of its classes."""

import numpy as np
import pytest

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError


def record(image_id, classes):
    number = len(classes)
    boxes = np.arange(4 * number, dtype=np.float32).reshape(number, 4)
    flags = np.arange(number) == 0
    return ImageRecord(
        image_id, f"{image_id}.jpg", 9, 9, boxes, np.array(classes, np.int32), flags, ~flags, boxes.sum(axis=1)
    )


def test_objects_go_and_images_names_and_numbers_stay():
    dataset = Dataset("data", ("cat", "dog", "cow"), (record(1, [0, 2, 1]), record(2, [0, 0]), record(3, [])))
    seen = dataset.without_classes(["cat"])
    assert seen.class_names == dataset.class_names
    assert [r.classes.tolist() for r in seen.records] == [[2, 1], [], []]
    first = seen.records[0]
    assert first.boxes.tolist() == dataset.records[0].boxes[1:].tolist()
    assert (first.difficult.tolist(), first.crowd.tolist()) == ([False, False], [True, True])
    assert first.area.tolist() == dataset.records[0].area[1:].tolist()
    assert seen.records[1].boxes.shape == (0, 4)
    assert seen.digest() != dataset.digest()
    assert dataset.without_classes([]).digest() == dataset.digest()
    with pytest.raises(UserError, match="'horse' is no class of it; its classes are cat, dog, cow"):
        dataset.without_classes(["cat", "horse"])
