"""Protocol `hosang`: worked out by hand, then against the assignment done by brute force."""

import itertools

import pytest
from scenes import ground_truth, proposals, random_pair

from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.hosang import best_overlaps
from zip_keras.evaluation.matching import overlaps

BOX = [0.0, 0.0, 100.0, 100.0]


def test_area_under_recall_of_one_object():
    found = proposals({1: [([0.0, 0.0, 100.0, 80.0], 1.0)]})  # IoU .8: recall is 1 up to .8 and 0 beyond
    result = average_recall(ground_truth({1: [BOX]}), found, "hosang")
    assert result["AR@10"] == pytest.approx(2 * (0.8 - 0.5))
    assert result["AR@100-L"] == pytest.approx(0.6)


def test_a_perfect_box_is_one_and_no_box_is_zero():
    truth = ground_truth({1: [BOX], 2: [BOX]})
    assert average_recall(truth, proposals({1: [(BOX, 1.0)]}), "hosang")["AR@10"] == 0.5


def test_the_best_pair_comes_first_whatever_the_scores():
    """The upper box is the better one for both objects, but only one may have it."""
    near = [0.0, 10.0, 100.0, 100.0]
    upper, lower = [0.0, 0.0, 100.0, 100.0], [0.0, 20.0, 100.0, 100.0]
    truth = ground_truth({1: [near, upper]})
    kept = best_overlaps(truth, proposals({1: [(lower, 0.9), (upper, 0.1)]}), (10,))
    assert kept[0, 1] == 1.0
    assert kept[0, 0] == pytest.approx(90 / 110)


def test_each_budget_matches_anew():
    tight, loose = BOX, [0.0, 0.0, 100.0, 60.0]
    kept = best_overlaps(ground_truth({1: [BOX]}), proposals({1: [(loose, 0.9), (tight, 0.8)]}), (1, 2))
    assert kept[:, 0].tolist() == [pytest.approx(0.6), 1.0]


@pytest.mark.parametrize("seed", range(5))
def test_against_a_sorted_list_of_all_pairs(seed):
    truth, found = random_pair(seed, images=5, boxes=12)
    kept = best_overlaps(truth, found, (1000,))[0]
    for image_id, rows in truth.rows():
        counted = [row for row in range(rows.start, rows.stop) if truth.counted[row]]
        table = overlaps(found[image_id].xywh, truth.xywh[counted])
        pairs = sorted(itertools.product(range(len(table)), range(len(counted))), key=lambda p: -table[p])
        used_boxes, expected = set(), {}
        for n, g in pairs:
            if n not in used_boxes and g not in expected:
                used_boxes.add(n)
                expected[g] = table[n, g]
        assert kept[counted].tolist() == [expected.get(g, 0.0) for g in range(len(counted))]


def test_difficult_objects_are_left_out():
    truth = ground_truth({1: [BOX, BOX]}, difficult=[1])
    assert average_recall(truth, proposals({1: [(BOX, 1.0)]}), "hosang")["AR@10"] == 1.0
