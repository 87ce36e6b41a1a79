import dataclasses

import numpy as np
import pytest

from zip_keras.analysis.anchor_fit.fit import AnchorFit, fit_anchors
from zip_keras.config import AnchorConfig
from zip_keras.data.records import ImageRecord
from zip_keras.ops import anchors


def record(*boxes, height=320, width=480):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return ImageRecord(1, "a.jpg", height, width, boxes, none.astype(np.int32), none, none, none.astype(np.float32))


def test_a_box_that_is_an_anchor_is_covered_by_its_level_alone():
    fit = fit_anchors([record([104, 104, 232, 232])])  # 128 x 128, centre 168 = 10.5 * 16: a cell centre of stride 16
    assert fit.shape_iou[0].tolist() == pytest.approx([(32 / 128) ** 2, 1, (128 / 256) ** 2])
    assert fit.placed_iou[0, 1] == pytest.approx(1)
    assert fit.covered(0.5) == (0, 1, 0, 1)


def test_the_grid_moves_an_anchor_by_up_to_half_a_stride():
    # Centre (32, 32) lies midway between cells of stride 8: the 32 x 32 anchor is 4 pixels off in both directions.
    fit = fit_anchors([record([16, 16, 48, 48])])
    shared = 28 * 28
    assert fit.shape_iou[0, 0] == pytest.approx(1)
    assert fit.placed_iou[0, 0] == pytest.approx(shared / (2 * 32 * 32 - shared))


def test_difficult_and_crowd_boxes_do_not_count():
    plain = record([16, 16, 48, 48])
    fit = fit_anchors([plain, dataclasses.replace(plain, crowd=np.ones(1, bool))])
    assert len(fit.sizes) == 1
    empty = fit_anchors([record()])
    assert np.isnan(empty.covered(0.5)).all()
    assert empty.text() == "anchor fit: no box to compare with anchors"
    assert empty.to_json()["levels_then_any"]["placed@0.5"] == [None] * 4


def test_the_short_side_scales_boxes_and_image():
    fit = fit_anchors([record([16, 16, 48, 48])], short_side=640)
    assert fit.sizes.tolist() == [[64, 64]]
    assert fit.shape_iou[0, 1] == pytest.approx(1)
    capped = fit_anchors([record([16, 16, 48, 48])], short_side=640, long_side=720)  # 320 x 480 becomes 480 x 720
    assert capped.sizes.tolist() == [[48, 48]]


@pytest.mark.parametrize("ratios", [(0.25, 0.5, 1.0, 2.0, 4.0), (1.0,)])
def test_placed_iou_equals_brute_force(ratios):
    rng = np.random.default_rng(1)
    height, width = 203, 315  # no multiples of 32
    corner = rng.uniform(0, [height - 5, width - 5], (40, 2))
    far = np.minimum(corner + np.exp(rng.uniform(1.5, 5.5, (40, 2))), [height, width])
    boxes = np.concatenate([corner, far], 1)
    config = AnchorConfig(ratios=ratios)
    fit = fit_anchors([record(*boxes, height=height, width=width)], config)
    for level, placed in enumerate(anchors.anchors_of_image(height, width, config)):
        np.testing.assert_allclose(fit.placed_iou[:, level], brute_force(boxes, np.asarray(placed)), atol=1e-5)
    assert (fit.placed_iou <= fit.shape_iou + 1e-6).all()


def brute_force(boxes, placed):
    best = []
    for y1, x1, y2, x2 in boxes:
        h = np.clip(np.minimum(y2, placed[:, 2]) - np.maximum(y1, placed[:, 0]), 0, None)
        w = np.clip(np.minimum(x2, placed[:, 3]) - np.maximum(x1, placed[:, 1]), 0, None)
        areas = (placed[:, 2] - placed[:, 0]) * (placed[:, 3] - placed[:, 1])
        best.append((h * w / ((y2 - y1) * (x2 - x1) + areas - h * w)).max())
    return best


def test_the_table_names_levels_and_shares():
    iou = np.array([[0.55, 0.7, 0], [0.1, 0.2, 0.3]], np.float32)
    fit = AnchorFit(np.ones((2, 2), np.float32), iou, iou, AnchorConfig(), None)
    lines = fit.text().splitlines()
    assert "2 boxes" in lines[0]
    assert lines[2].split() == ["0.5,", "shape", "alone", "50.0", "%", "50.0", "%", "0.0", "%", "50.0", "%"]
    assert fit.to_json()["levels_then_any"]["shape@0.6"] == [0, 0.5, 0, 0.5]


def test_a_level_without_anchors_covers_nothing():
    fit = fit_anchors([record([16, 16, 48, 48])], AnchorConfig(scales=((), (), (32.0,))))
    assert fit.shape_iou[0].tolist() == pytest.approx([0, 0, 1])
    assert "stride 8 (none)" in fit.text()
