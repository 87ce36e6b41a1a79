"""The report of detections: whole, self-contained, worst image first, and safe with any name."""

import re

import numpy as np
import pytest
from scenes import ground_truth

from zip_keras.evaluation.average_precision import fast_average_precision
from zip_keras.predictions.container import Predictions

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")
pytest.importorskip("jinja2")
from zip_keras.plots.detection_report import detection_report

A, B, NOWHERE = [10.0, 20.0, 50.0, 60.0], [100.0, 100.0, 40.0, 40.0], [150.0, 10.0, 30.0, 30.0]


@pytest.fixture(scope="module")
def report():
    images = {"good": [A], "bad": [A, B, B]}
    truth = ground_truth(images, classes=[0, 0, 1, 1], difficult=[3], names=("<script>", "dog"), size=(200, 200))
    found = Predictions()
    found.add_xywh("good", [A], [0.9], [1])
    found.add_xywh("bad", [A, NOWHERE, NOWHERE], [0.8, 0.7, 0.1], [2, 1, 1])
    pictures = {"good": np.zeros((200, 200, 3), np.uint8)}
    numbers = fast_average_precision(truth, found)
    return detection_report("a & b", numbers, {"images_without": 3}, truth, found, pictures.get)


def test_names_are_escaped_and_the_page_is_whole(report):
    assert "<script>" not in report
    assert "&lt;script&gt;" in report
    assert "a &amp; b" in report
    assert report.count("<html>") == report.count("</html>") == 1
    assert report.count("data:image/jpeg") == 1
    assert "no picture" in report
    assert "images without" in report


def test_the_worst_image_comes_first_with_its_errors(report):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", report)
    assert captions == [
        "bad: 2 of 2 objects missed, 0 wrong detections",
        "good: 0 of 1 objects missed, 0 wrong detections",
    ]
    assert "greatest, 0.500, for detections with a score of at least 0.900" in report
    assert report.count('class="missed"') == 2
    assert report.count('class="found"') == 1
    assert report.count('class="ignored"') == 1


def test_classes_hardest_first_and_kinds_of_error(report):
    rows = re.findall(r"<tr><td>([^<]*)</td><td>(\d+)</td><td>([\d.]+)</td>", report)
    assert rows[0][:2] == ("dog", "1")
    assert {name: count for name, count, _ in rows if name in ("classification", "background")} == {
        "classification": "1",
        "background": "2",
    }


def test_wrong_detections_are_drawn_with_their_kind():
    truth = ground_truth({1: [A]}, size=(200, 200), names=("cat", "dog"))
    found = Predictions()
    found.add_xywh(1, [A, A, NOWHERE], [0.9, 0.9, 0.9], [1, 2, 1])
    text = detection_report("t", {}, {}, truth, found, lambda image_id: None)
    assert text.count('class="wrong"') == 2
    assert "dog 0.90, classification error" in text
    assert "cat 0.90, background" in text
    assert "cat 0.90, right" in text
