"""The numbers that other evaluators published, reproduced."""

import pytest

from zip_keras.evaluation.formats import read_proposals
from zip_keras.evaluation.ground_truth import read_ground_truth
from zip_keras.evaluation.pycoco import coco_average_precision

# faster_coco_eval's tests, to 16 digits; instances_val2014_fakebbox100 of cocoapi rounds to the same.
COCO_100 = (
    0.5045806987249628, 0.6969727247299577, 0.5729816669904824,
    0.5856257209410443, 0.5193996948036719, 0.5013978986347466,
    0.38681277964578054, 0.5936795762842003, 0.595352982877607,
    0.6398109626113442, 0.5664205978994309, 0.5642905982905982,
)  # fmt: skip
BOX_AREA = (
    0.503647, 0.696973, 0.571667, 0.593252, 0.557991, 0.489363,
    0.386813, 0.593680, 0.595353, 0.654764, 0.603130, 0.553744,
)  # fmt: skip


def test_coco_average_precision_of_cocoapi(reference):
    truth = read_ground_truth(str(reference / "faster_coco_eval" / "instances_val2014_100.json"))
    found = read_proposals(str(reference / "cocoapi" / "instances_val2014_fakebbox100_results.json"))
    assert list(coco_average_precision(truth, found).values()) == pytest.approx(COCO_100, abs=1e-12)


def test_coco_average_precision_with_box_areas(reference):
    folder = reference / "review_object_detection_metrics" / "tests" / "test_coco_eval"
    truth = read_ground_truth(str(folder / "gts" / "sampled_gts_bbox_area.json"))
    found = read_proposals(str(folder / "cocoapi_results.json"))
    assert list(coco_average_precision(truth, found).values()) == pytest.approx(BOX_AREA, abs=5e-7)
