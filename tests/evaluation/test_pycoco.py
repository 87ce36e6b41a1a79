"""What `pycoco` adds to pycocotools: difficult objects, ids and categories of any kind."""

import numpy as np
import pytest
from scenes import ground_truth, proposals

from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.predictions.container import Predictions

A, B = [0.0, 0.0, 50.0, 50.0], [200.0, 200.0, 50.0, 50.0]
INSIDE_B = [200.0, 200.0, 10.0, 10.0]


def average_precision(found, **flags):
    return coco_average_precision(ground_truth({1: [A, B]}, **flags), proposals({1: found}))["AP50"]


def test_the_detection_of_a_difficult_object_is_not_wrong():
    assert average_precision([(B, 0.9), (A, 0.8)], difficult=[1]) == pytest.approx(1.0)


def test_a_second_detection_of_a_difficult_object_is_wrong():
    assert average_precision([(B, 0.9), (B, 0.85), (A, 0.8)], difficult=[1]) == pytest.approx(0.5)


def test_a_crowd_takes_any_number_and_boxes_inside_it():
    assert average_precision([(B, 0.9), (B, 0.85), (INSIDE_B, 0.82), (A, 0.8)], crowd=[1]) == pytest.approx(1.0)


def test_a_small_box_inside_a_difficult_object_is_wrong():
    assert average_precision([(INSIDE_B, 0.9), (A, 0.8)], difficult=[1]) == pytest.approx(0.5)


@pytest.mark.parametrize("protocol", ["coco", "fast"])
def test_ids_of_any_kind_and_categories_that_the_data_lacks(protocol):
    truth = ground_truth({"b": [A], 7: [A], "a": [B]})
    found = Predictions()
    for image_id, box in (("b", A), (7, A), ("a", B)):
        found.add_xywh(image_id, [box], [0.5], np.array([99]))
    assert average_recall(truth, found, protocol)["AR@10"] == 1.0


def test_no_object_of_a_class_is_left_out_of_the_mean():
    truth = ground_truth({1: [A]}, names=("cat", "dog"))
    assert coco_average_precision(truth, proposals({1: [(A, 0.9)]}))["AP"] == pytest.approx(1.0)
