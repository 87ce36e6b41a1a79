"""Average precision in NumPy: by hand, and against pycocotools to the last bit."""

import numpy as np
import pytest
from scenes import ground_truth, proposals, random_detections

from zip_keras.evaluation.average_precision import (
    best_operating_point,
    class_numbers,
    fast_average_precision,
    group_numbers,
    precision_at_recall_levels,
)
from zip_keras.evaluation.detection_matching import IGNORED, RIGHT, WRONG, match_detections
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.predictions.container import Predictions

A, B, NOWHERE = [0.0, 0.0, 50.0, 50.0], [200.0, 200.0, 50.0, 50.0], [500.0, 500.0, 50.0, 50.0]


def verdicts(truth, found):
    return match_detections(truth, found, np.array([0.5]))[0].verdicts[0, 0].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_bits_as_pycocotools(seed):
    """With ties of scores and overlaps, crowds, difficult objects, areas of every size, and a class of nowhere."""
    truth, found = random_detections(seed)
    expected = coco_average_precision(truth, found)
    assert fast_average_precision(truth, found) == expected
    assert 0 < expected["AP"] < 1


def test_ids_of_any_kind_are_in_the_order_of_pycocotools():
    """Of equal scores in two images the first image's comes first."""
    truth = ground_truth({"b": [A], 7: [A], "a": [B]})
    found = proposals({"b": [(NOWHERE, 0.5)], 7: [(A, 0.5)], "a": [(B, 0.5)]})
    assert fast_average_precision(truth, found)["AP"] == coco_average_precision(truth, found)["AP"]
    assert verdicts(truth, found) == [RIGHT, RIGHT, WRONG]  # 7, "a", "b"


def test_verdicts():
    found = proposals({1: [(A, 0.9), (A, 0.8), (NOWHERE, 0.7), (B, 0.6), (B, 0.5)]})
    assert verdicts(ground_truth({1: [A, B]}), found) == [RIGHT, WRONG, WRONG, RIGHT, WRONG]
    assert verdicts(ground_truth({1: [A, B]}, difficult=[1]), found) == [RIGHT, WRONG, WRONG, IGNORED, WRONG]
    assert verdicts(ground_truth({1: [A, B]}, crowd=[1]), found) == [RIGHT, WRONG, WRONG, IGNORED, IGNORED]


def test_curve_by_hand():
    found = proposals({1: [(A, 0.9), (NOWHERE, 0.8), (B, 0.7)]})
    [of_class] = match_detections(ground_truth({1: [A, B]}), found)
    curve = precision_at_recall_levels(of_class)[0, 0]
    assert curve[:51].tolist() == pytest.approx([1.0] * 51)  # recall 0 to .5
    assert curve[51:].tolist() == pytest.approx([2 / 3] * 50)


def test_classes_and_groups_of_them():
    truth = ground_truth({1: [A, B]}, classes=[0, 1], names=("cat", "dog", "cow"))
    found = Predictions()
    found.add_xywh(1, [A, B], [0.9, 0.8], [1, 1])  # the dog is called a cat
    rows = class_numbers(match_detections(truth, found))
    assert rows["cat"] == {"objects": 1, "AP": pytest.approx(1), "AP50": pytest.approx(1), "AP75": pytest.approx(1)}
    assert (rows["dog"]["AP50"], rows["dog"]["objects"]) == (0.0, 1)
    assert np.isnan(rows["cow"]["AP"])
    groups = group_numbers(rows, {"all": ("cat", "dog", "cow"), "unseen": ("dog", "cow"), "empty": ("cow",)})
    assert (groups["all"]["AP50"], groups["all"]["objects"]) == (pytest.approx(0.5), 2)
    assert groups["unseen"]["AP50"] == 0.0
    assert np.isnan(groups["empty"]["AP"])


def test_the_score_of_the_greatest_f1():
    found = proposals({1: [(A, 0.9), (NOWHERE, 0.8), (B, 0.7), (NOWHERE, 0.7), (NOWHERE, 0.2)]})
    point = best_operating_point(match_detections(ground_truth({1: [A, B]}), found))
    # .9: P 1, R .5, F1 .667; .8: F1 .5; .7 with its equal: P .5, R 1, F1 .667; .2: F1 .571. The first of the best.
    assert (point.score, point.precision, point.recall, point.f1) == pytest.approx((0.9, 1.0, 0.5, 2 / 3))
    truth = ground_truth({1: [A, B]})
    assert best_operating_point(match_detections(truth, proposals({1: [(NOWHERE, 0.5)]}))) is None
    assert best_operating_point(match_detections(truth, Predictions())) is None
