"""Proposal files as input of a second stage."""

import numpy as np
import pytest

from zip_keras.data.given import GivenProposals, digest
from zip_keras.errors import UserError
from zip_keras.inference.given_proposals import check_inside, read_given_proposals
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions

BOXES = np.array([[0, 0, 10, 20], [5, 5, 30, 30], [1, 2, 3, 4]], np.float32)


@pytest.fixture(params=["json", "npz", "csv", "parquet"])
def file(request, tmp_path):
    proposals = Predictions()
    proposals.add(7, BOXES, np.array([0.1, 0.9, 0.5]), levels=np.array([1, 3, 0]))
    proposals.add(8, BOXES[:1], np.array([0.2]))
    path = str(tmp_path / f"proposals.{request.param}")
    write_predictions(path, proposals)
    return path


def test_the_best_boxes_of_each_image_in_its_order(file):
    of_eight, of_seven = read_given_proposals(file, [8, 7], 2)
    np.testing.assert_allclose(of_seven.boxes, BOXES[[1, 2]])
    assert of_seven.levels.tolist() == [3, 0]
    assert of_seven.boxes.dtype == np.float32
    assert len(of_eight) == 1


def test_images_that_are_missing_are_named(file):
    with pytest.raises(UserError, match=r"no proposals of 2 of 3 images: 9, 'street' \(it has 2 images.*7, 8"):
        read_given_proposals(file, [7, 9, "street"], 2)


def test_an_npz_file_says_that_an_image_has_none(tmp_path):
    proposals = Predictions()
    proposals.add(7, BOXES, np.ones(3))
    proposals.add(8, np.zeros((0, 4)), np.zeros(0))
    write_predictions(str(tmp_path / "p.npz"), proposals)
    assert list(map(len, read_given_proposals(str(tmp_path / "p.npz"), [7, 8], 9))) == [3, 0]


def test_boxes_that_are_none_are_refused(tmp_path):
    proposals = Predictions()
    proposals.add(7, BOXES[:, [0, 1, 0, 3]], np.ones(3))
    write_predictions(str(tmp_path / "p.json"), proposals)
    with pytest.raises(UserError, match=r"image 7: box .*width and height above 0"):
        read_given_proposals(str(tmp_path / "p.json"), [7], 9)


def test_boxes_of_another_image_size_are_refused():
    given = GivenProposals(BOXES, np.zeros(3, np.int32))
    check_inside("p.npz", 7, (40, 40), given)
    with pytest.raises(UserError, match=r"p.npz: image 7: the centre of box \[5.0, 5.0, 30.0, 30.0\].*16 x 40 pixels"):
        check_inside("p.npz", 7, (16, 40), given)


def test_the_digest_tells_proposals_apart():
    levels = np.zeros(3, np.int32)
    kinds = [[GivenProposals(BOXES, levels)], [GivenProposals(BOXES, levels + 1)],
             [GivenProposals(BOXES[:2], levels[:2]), GivenProposals(BOXES[2:], levels[2:])]]  # fmt: skip
    assert len({digest(kind) for kind in kinds}) == 3
