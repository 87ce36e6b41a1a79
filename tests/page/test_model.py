from dataclasses import replace

import numpy as np
import pytest

import zip_keras
from tests.models.test_detectors import one_stage, spread, two_stage
from tests.page.conftest import BOXES
from tests.tiny_backbone import TINY_MAD_MODEL
from zip_keras.config import DetectionConfig
from zip_keras.models.detector import Detector
from zip_keras.page.loading import open_model, page_detector, page_proposer
from zip_keras.page.model import Choice


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        (Choice(4, 0, 1), [0, 1, 2, 3]),
        (Choice(2, 0, 1), [0, 1]),
        (Choice(4, 0.5, 1), [0, 1, 2]),
        (Choice(4, 0, 0.5), [0, 2, 3]),
        (Choice(2, 0, 0.5), [0, 2]),  # the count is of boxes that are left
        (Choice(4, 0, 0.2), [0, 2]),
        (Choice(4, 0.95, 1), []),
    ],
)
def test_score_then_overlap_then_count(proposer, choice, rows):
    assert choice.of(proposer.found).boxes.tolist() == BOXES[rows].tolist()


def test_boxes_of_other_classes_stay(detector):
    assert Choice(4, 0, 0.5).of(detector.found).names == ["cat", "<i>dog</i>", "<i>dog</i>", "cat"]
    assert len(Choice(4, 0, 0.2).of(detector.found)) == 3  # the fourth is in the first, both cats


def test_scores_below_zero_are_taken_unless_a_score_is_asked_for(proposer):
    below = proposer.found.take(np.arange(2))
    below.scores[:] = [0.3, -0.2]
    assert len(Choice(4, 0, 1).of(below)) == 2
    assert len(Choice(4, 0.01, 1).of(below)) == 1


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize("make", [one_stage, two_stage])
def test_a_detectors_own_counts_and_thresholds_give_its_own_list(make, image):
    detector = Detector(spread(make(model=TINY_MAD_MODEL)), short_sides=64, long_side=96)
    model = page_detector(detector, "tiny")
    assert model.class_names == ("disc", "box", "star")
    found = model.look(image)
    middle = float(np.median(found.scores[:12]))
    for count, score, iou in ((12, 0.0, 0.5), (5, middle, 0.2)):
        config = DetectionConfig(max_detections=count, score_threshold=score, nms_iou=iou, pre_nms_top_n=100)
        answer = detector.with_options(postprocess=config)(image[None])
        valid = np.asarray(answer["valid"])[0]
        expected = {name: np.asarray(values)[0][valid] for name, values in answer.items()}
        shown = Choice(count, score, iou).of(found)
        assert len(shown) == valid.sum() > 0
        np.testing.assert_allclose(shown.scores, expected["scores"], atol=1e-5)
        np.testing.assert_allclose(shown.boxes, expected["boxes"], atol=1e-2)
        assert shown.classes.tolist() == expected["classes"].tolist()
    assert model.attend is not None


def test_a_proposer_from_a_run_folder(small_run, small_propose, image, monkeypatch):
    monkeypatch.setattr("zip_keras.page.loading.InferenceRunner", lambda proposer: small_propose)  # traced already
    model = open_model(small_run)
    assert (model.class_names, model.start.count, model.most) == (None, 10, 50)
    shown = Choice(20, 0, 1).of(model.look(image))
    np.testing.assert_array_equal(shown.boxes, small_propose(image).boxes[:20])
    assert model.attend is None


@pytest.mark.parametrize(("merge", "shown"), [("mad", True), ("add", False)])
def test_without_map_attention_the_page_does_without(merge, shown):
    network = zip_keras.ProposalNetwork(replace(TINY_MAD_MODEL, merge=merge))
    page = page_proposer(zip_keras.Proposer(network, short_sides=64), merge)
    assert (page.attend is not None) == shown
