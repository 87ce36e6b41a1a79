"""VOC average precision by hand."""

import numpy as np
import pytest
from scenes import ground_truth, proposals

from zip_keras.evaluation.voc import precision_recall, voc_average_precision
from zip_keras.predictions.container import Predictions

A, B, NOWHERE = [0.0, 0.0, 50.0, 50.0], [200.0, 200.0, 50.0, 50.0], [500.0, 500.0, 50.0, 50.0]


def test_right_wrong_right():
    found = proposals({1: [(A, 0.9), (NOWHERE, 0.8), (B, 0.7)]})
    truth = ground_truth({1: [A, B]})
    curve = precision_recall(truth, found, 0)
    assert curve.recall.tolist() == [0.5, 0.5, 1.0]
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert curve.average_precision("every") == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve.average_precision("eleven") == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)  # recall 0 to .5, .6 to 1


def test_a_second_box_on_an_object_is_a_false_alarm():
    curve = precision_recall(ground_truth({1: [A]}), proposals({1: [(A, 0.9), (A, 0.8)]}), 0)
    assert curve.precision.tolist() == [1.0, 0.5]


def test_difficult_is_neither_missed_nor_wrong():
    truth = ground_truth({1: [A, B]}, difficult=[1])
    with_it = voc_average_precision(truth, proposals({1: [(B, 0.9), (A, 0.8)]}))
    without = voc_average_precision(truth, proposals({1: [(A, 0.8)]}))
    assert with_it["mAP"] == without["mAP"] == 1.0


def test_absent_classes_are_not_in_the_mean():
    truth = ground_truth({1: [A, B]}, classes=[0, 1], names=("cat", "dog", "cow"))
    found = Predictions()
    found.add_xywh(1, [A, B], [0.9, 0.8], [1, 1])  # the dog is called a cat
    result = voc_average_precision(truth, found)
    assert (result["cat"], result["dog"], result["mAP"]) == (1.0, 0.0, 0.5)
    assert np.isnan(result["cow"])
