import numpy as np

from zip_keras.plots.selection import select_for_display

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30], [0, 0, 10, 4], [40, 40, 50, 50]])
SCORES = np.array([0.9, 0.8, 0.6, 0.5, 0.4])


def test_near_duplicates_and_low_scores_are_left_out():
    assert select_for_display(BOXES, SCORES).tolist() == [0, 2, 3]  # IoU with the first: .8, 0, .4, 0; .4 < .9 / 2
    assert select_for_display(BOXES, SCORES, count=2).tolist() == [0, 2]
    assert select_for_display(BOXES, SCORES, iou=0.3).tolist() == [0, 2]
    assert select_for_display(BOXES, SCORES, iou=1, share=0).tolist() == [0, 1, 2, 3, 4]


def test_no_boxes_and_scores_below_zero():
    assert select_for_display(np.zeros((0, 4)), np.zeros(0)).tolist() == []
    assert select_for_display(BOXES, SCORES - 1, iou=1).tolist() == [0, 1, 2, 3, 4]
