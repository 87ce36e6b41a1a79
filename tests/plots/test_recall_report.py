"""The HTML report: whole, self-contained, worst image first, and safe with any name."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.predictions.container import Predictions

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")
from zip_keras.plots.recall_report import recall_report

BOX = [10.0, 20.0, 60.0, 90.0]


def record(image_id, boxes, difficult=()):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    flags = np.isin(np.arange(len(boxes)), difficult)
    return ImageRecord(
        image_id, f"{image_id}.jpg", 100, 120, boxes, np.zeros(len(boxes), np.int32), flags, np.zeros_like(flags), area
    )


@pytest.fixture
def report():
    truth = from_dataset(
        Dataset("data", ("<script>",), (record("found", [BOX]), record("missed", [BOX, BOX], [1]), record("empty", [])))
    )
    found = Predictions("a & b")
    found.add("found", [BOX], [0.9])
    numbers = average_recall(truth, found)
    return recall_report("a & b", numbers, {"images": 3}, truth, found, lambda i: None if i == "empty" else picture())


def report_with_levels(levels):
    truth = from_dataset(Dataset("data", ("thing",), (record("a", [BOX, [0.0, 0.0, 5.0, 5.0]]),)))
    found = Predictions("p")
    found.add("a", [BOX, [50.0, 50.0, 80.0, 90.0]], [0.9, 0.8], levels)
    return recall_report("p", average_recall(truth, found), {}, truth, found, lambda i: picture())


def test_levels_make_a_table_and_colour_the_proposals():
    text = report_with_levels([2, 1])
    rows = re.findall(r"<tr><td>level (\d)</td><td>([\d.]+)</td>.*?</tr>", text)
    assert rows == [("1", "0.5000"), ("2", "0.5000")]  # half of the first ten proposals each
    assert text.count('class="proposal level-2"') == 1
    assert "proposal 1, level 2" in text
    assert "yellow" not in text


def test_without_levels_the_report_does_not_speak_of_them():
    text = report_with_levels(None)
    assert "By level" not in text
    assert text.count('class="proposal"') == 1
    assert "yellow" in text


def picture():
    return np.full((100, 120, 3), 90, np.uint8)


def test_worst_image_comes_first(report):
    captions = re.findall("<figcaption>(.*?):", report)
    assert captions == ["missed", "found", "empty"]


def test_boxes_tell_found_from_missed(report):
    counts = {kind: report.count(f'class="{kind}"') for kind in ("found", "missed", "ignored", "proposal")}
    assert counts == {"found": 1, "missed": 1, "ignored": 1, "proposal": 1}


def test_nothing_is_loaded_from_elsewhere(report):
    for link in re.findall(r'(?:src|href)="([^"]*)"', report):
        assert link.startswith(("data:", "#"))
    assert report.count("data:image/jpeg;base64,") == 2
    assert "no picture" in report


def test_names_are_escaped(report):
    assert "<script>" not in report
    assert "&lt;script&gt;" in report
    assert "a &amp; b" in report


def test_every_tag_is_closed(report):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open_tags = []

        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    parser = Balance()
    parser.feed(report)
    assert parser.open_tags == []
