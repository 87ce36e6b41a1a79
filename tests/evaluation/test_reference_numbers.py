"""The numbers that other evaluators published, reproduced."""

import pytest
from scenes import ground_truth, proposals

from zip_keras.evaluation.average_precision import fast_average_precision
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.evaluation.pycoco import coco_average_precision
from zip_keras.evaluation.voc import voc_average_precision
from zip_keras.predictions.formats import read_predictions

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


both = pytest.mark.parametrize("measure", [coco_average_precision, fast_average_precision])


@both
def test_coco_average_precision_of_cocoapi(reference, measure):
    truth = read_ground_truth(str(reference / "faster_coco_eval" / "instances_val2014_100.json"))
    found = read_predictions(str(reference / "cocoapi" / "instances_val2014_fakebbox100_results.json"))
    assert list(measure(truth, found).values()) == pytest.approx(COCO_100, abs=1e-12)


@both
def test_coco_average_precision_with_box_areas(reference, measure):
    folder = reference / "review_object_detection_metrics" / "tests" / "test_coco_eval"
    truth = read_ground_truth(str(folder / "gts" / "sampled_gts_bbox_area.json"))
    found = read_predictions(str(folder / "cocoapi_results.json"))
    assert list(measure(truth, found).values()) == pytest.approx(BOX_AREA, abs=5e-7)


def read_text_boxes(folder, scored):
    """`class [score] x y width height` files of review_object_detection_metrics and Object-Detection-Metrics.

    Their boxes span x .. x + width inclusive, so a side is one longer in continuous coordinates.
    """
    images = {}
    for file in sorted(folder.glob("*.txt")):
        rows = [[float(value) for value in line.split()[1:]] for line in file.read_text().splitlines() if line.strip()]
        rows = [[*row[:-2], row[-2] + 1, row[-1] + 1] for row in rows]
        images[file.stem] = [(row[1:], row[0]) for row in rows] if scored else rows
    return images


@pytest.mark.parametrize(
    ("points", "threshold", "expected"),
    [
        ("eleven", 0.1, 0.3333333333),
        ("eleven", 0.3, 0.2683982683),
        ("eleven", 0.5, 0.0303030303),
        ("eleven", 0.75, 0.0),
        ("every", 0.1, 0.3371980676),
        ("every", 0.3, 0.2456866804),
        ("every", 0.5, 0.0222222222),
        ("every", 0.75, 0.0),
    ],
)
def test_voc_ap_equals_review_object_detection_metrics(reference, points, threshold, expected):
    folder = reference / "review_object_detection_metrics" / "tests" / "test_case_1"
    truth = ground_truth(read_text_boxes(folder / "gts", scored=False))
    found = proposals(read_text_boxes(folder / "dets", scored=True))
    result = voc_average_precision(truth, found, points, threshold)
    assert result["mAP"] == pytest.approx(expected, abs=1e-10)


def test_voc_average_precision_of_object_detection_metrics(reference):
    folder = reference / "Object-Detection-Metrics"
    truth = ground_truth(read_text_boxes(folder / "groundtruths", scored=False))
    found = proposals(read_text_boxes(folder / "detections", scored=True))
    assert round(100 * voc_average_precision(truth, found, "every", 0.3)["mAP"], 2) == 24.57
