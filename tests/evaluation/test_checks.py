"""Proposal files that do not fit their ground truth."""

import numpy as np
import pytest
from scenes import ground_truth, proposals, random_pair

from zip_keras.errors import UserError
from zip_keras.evaluation.checks import Policy, check_predictions
from zip_keras.predictions.container import Predictions

GOOD = ([10.0, 10.0, 20.0, 20.0], 0.5)
TRUTH = ground_truth({1: [GOOD[0]], 2: [GOOD[0]]}, size=(100, 200))

BAD = {
    "NaN": ([10, 10, np.nan, 20], 0.5),
    "infinite": ([10, 10, np.inf, 20], 0.5),
    "inverted": ([10, 10, -5, 20], 0.5),
    "empty": ([10, 10, 20, 0], 0.5),
    "score NaN": ([10, 10, 20, 20], np.nan),
    "score infinite": ([10, 10, 20, 20], np.inf),
}


@pytest.mark.parametrize("row", BAD.values(), ids=BAD)
def test_bad_boxes_and_scores_stop_or_are_counted(row):
    found = proposals({1: [GOOD, row]})
    with pytest.raises(UserError, match=r"scene\.json: image 1: .*--on-bad-box=skip"):
        check_predictions(found, TRUTH, Policy())
    checked = check_predictions(found, TRUTH, Policy(bad_box="skip"))
    assert checked.proposals[1].xywh.tolist() == [GOOD[0]]
    assert sum(checked.skipped.values()) == 1


@pytest.mark.parametrize("score", [-1e6, 0.0, 17.0, 1e300])
def test_any_finite_score_ranks(score):
    found = proposals({1: [(GOOD[0], score)]})
    assert check_predictions(found, TRUTH, Policy()).proposals.count == 1


def test_unknown_images_stop_or_are_counted():
    found = proposals({1: [GOOD], "x": [GOOD]})
    with pytest.raises(UserError, match=r"1 of 2 images are not in scene, the first is 'x'"):
        check_predictions(found, TRUTH, Policy())
    checked = check_predictions(found, TRUTH, Policy(unknown_image="skip"))
    assert checked.proposals.image_ids == (1,)
    assert checked.skipped == {"images not in the ground truth": 1}


def test_no_image_in_common_is_an_error_whatever_the_policy():
    with pytest.raises(UserError, match="none of its 1 images"):
        check_predictions(proposals({"000001": [GOOD]}), TRUTH, Policy(unknown_image="skip"))


def test_boxes_of_another_image_size():
    found = proposals({1: [GOOD, ([180, 90, 40, 40], 0.4)]})  # centre at (200, 110) of 200 x 100
    with pytest.raises(UserError, match="another size"):
        check_predictions(found, TRUTH, Policy())
    assert check_predictions(found, TRUTH, Policy(outside="skip")).proposals.count == 1
    assert check_predictions(found, TRUTH, Policy(outside="keep")).proposals.count == 2


def test_a_box_over_the_edge_is_fine():
    found = proposals({1: [([-10, -10, 40, 40], 0.4)]})
    assert check_predictions(found, TRUTH, Policy()).skipped == {}


def test_images_without_proposals_are_counted():
    assert check_predictions(proposals({1: [GOOD]}), TRUTH, Policy()).images_without_proposals == 1
    assert check_predictions(Predictions(), TRUTH, Policy()).images_without_proposals == 2


def test_consumed_proposals_are_checked_as_others_are():
    truth, found = random_pair(3)
    policy = Policy(bad_box="skip", outside="keep")
    kept = check_predictions(found, truth, policy).proposals
    images = found.image_ids
    consumed = check_predictions(found, truth, policy, consume=True).proposals
    assert (len(found), consumed.image_ids) == (0, images)
    for image_id in images:
        np.testing.assert_array_equal(consumed[image_id].xywh, kept[image_id].xywh)
