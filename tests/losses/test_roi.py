import math

import numpy as np
import pytest
from keras import ops

from zip_keras.config import DetectorLossConfig, TargetConfig
from zip_keras.losses.one_stage import LabelledAnchors, dense_losses
from zip_keras.losses.roi import decode_classes, roi_losses
from zip_keras.ops import boxes as box_ops
from zip_keras.targets.rois import RoISample

ROI, OBJECT = [0, 0, 10, 20], [1, 2, 11, 22]  # moved by a tenth of the RoI's sides


def sample(classes, used):
    count = len(classes)
    boxes, matched = (np.tile(np.array(box, "float32"), (1, count, 1)) for box in (ROI, OBJECT))
    return RoISample(
        boxes, np.ones((1, count), "int32"), np.array([classes], "int32"), matched, np.array([used], "float32")
    )


def test_by_hand():
    """Three classes, an RoI of class 2, one of background, one of padding; logits 0 everywhere: log 4 each."""
    logits, deltas = np.zeros((1, 3, 4), "float32"), np.zeros((1, 3, 3, 4), "float32")
    deltas[0, 0, 1] = [1, 0.5, 0, 0]  # of class 2: right in y, half of the way in x: 0.5 * 0.5^2 over two RoIs
    deltas[0, :, [0, 2]] = 99  # of other classes: no matter
    classification, box = roi_losses(logits, deltas, sample([2, 0, 1], [1, 1, 0]), DetectorLossConfig())
    assert float(classification[0]) == pytest.approx(math.log(4), rel=1e-6)
    assert float(box[0]) == pytest.approx(0.125 / 2, rel=1e-5)
    squares = roi_losses(logits, deltas, sample([2, 0, 1], [1, 1, 0]), DetectorLossConfig(box="l2"))[1]
    assert float(squares[0]) == pytest.approx(0.5**2 / 2, rel=1e-5)


@pytest.mark.parametrize("kind", ["smooth_l1", "l2", "giou"])
def test_the_right_deltas_cost_nothing_and_decode_to_the_object(kind):
    right = ops.convert_to_numpy(box_ops.encode(np.float32(OBJECT), np.float32(ROI))) / [0.1, 0.1, 0.2, 0.2]
    deltas = np.tile(right.astype("float32"), (1, 1, 2, 1))
    box = roi_losses(np.zeros((1, 1, 3), "float32"), deltas, sample([1], [1]), DetectorLossConfig(box=kind))[1]
    assert float(box[0]) == pytest.approx(0, abs=1e-6)
    found = ops.convert_to_numpy(decode_classes(deltas, np.array([[ROI]], "float32")))
    np.testing.assert_allclose(found[0, 0], [OBJECT, OBJECT], atol=1e-4)
    wrong = roi_losses(np.zeros((1, 1, 3), "float32"), 0 * deltas, sample([1], [1]), DetectorLossConfig(box=kind))[1]
    assert float(wrong[0]) > 0.1


def test_an_image_without_rois_costs_nothing():
    losses = roi_losses(
        np.zeros((1, 2, 3), "float32"), np.zeros((1, 2, 2, 4), "float32"), sample([1, 0], [0, 0]), DetectorLossConfig()
    )
    assert [float(x[0]) for x in losses] == [0, 0]


def anchors(labels, classes):
    boxes = np.tile(np.array(ROI, "float32"), (len(labels), 1))
    return LabelledAnchors(boxes, np.array([labels], "int32"), np.array([classes], "int32"), boxes[None])


def test_hard_negatives_by_hand():
    """One positive, ratio 2, four negatives of P(background) .9 .5 .8 .6 (the middle ones ignored or easy)."""
    background = np.array([0.3, 0.9, 0.5, 0.8, 0.6, 0.1])
    logits = np.log(np.stack([background, 1 - background], axis=-1))[None].astype("float32")
    level = anchors([1, 0, 0, 0, 0, -1], [1, 0, 0, 0, 0, 0])
    config = DetectorLossConfig(anchors="hard_negatives", negative_ratio=2)
    classification, box = dense_losses(logits, np.zeros((1, 6, 4), "float32"), level, TargetConfig(), config)
    assert float(classification[0]) == pytest.approx(-math.log(0.7) - math.log(0.5) - math.log(0.6), rel=1e-5)
    assert float(box[0]) == 0
    none = dense_losses(
        logits, np.zeros((1, 6, 4), "float32"), anchors([0] * 6, [0] * 6), TargetConfig(quota=1), config
    )
    assert float(none[0][0]) == pytest.approx(-math.log(0.1), rel=1e-5)


def test_focal_loss_by_hand():
    """alpha (1 - p)^2 (-log p): .25 * .3^2 for the positive with p = .7, .75 * .1^2 for the negative with p = .9."""
    logits = np.log(np.array([[[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]]], "float32"))
    level = anchors([1, 0, -1], [1, 0, 0])
    config = DetectorLossConfig(anchors="focal")
    classification, _ = dense_losses(logits, np.zeros((1, 3, 4), "float32"), level, TargetConfig(), config)
    expected = -0.25 * 0.3**2 * math.log(0.7) - 0.75 * 0.1**2 * math.log(0.9)
    assert float(classification[0]) == pytest.approx(expected, rel=1e-4)
