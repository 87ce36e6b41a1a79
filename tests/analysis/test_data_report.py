import json

import numpy as np

from zip_keras.analysis.anchor_fit.fit import fit_anchors
from zip_keras.analysis.data_report import make_report
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.records import Dataset, ImageRecord


def report(defects=()):
    boxes = np.array([[0, 0, 31, 31], [0, 0, 32, 32], [0, 0, 96, 96], [0, 0, 97, 97]], np.float32)
    flags = np.array([True, False, False, False])
    area = (boxes[:, 2] * boxes[:, 3]).astype(np.float32)
    full = ImageRecord(1, "a.jpg", 100, 200, boxes, np.array([0, 1, 1, 1], np.int32), flags, ~flags, area)
    none = slice(0, 0)
    empty = ImageRecord(2, "b.jpg", 300, 50, boxes[none], full.classes[none], flags[none], flags[none], area[none])
    dataset = Dataset("x:train", ("cat", "dog", "cow"), (full, empty))
    return make_report(dataset, defects, fit_anchors(dataset.records))


def test_counts_by_hand():
    found = report()
    assert (found.images, found.empty_images, found.objects, found.difficult, found.crowd) == (2, 1, 4, 1, 3)
    assert found.sizes == {"S": 1, "M": 2, "L": 1}  # COCO: 32 x 32 and 96 x 96 are medium
    assert found.per_class == {"cat": 1, "dog": 3, "cow": 0}
    assert found.image_sides == {"height": (100, 200, 300), "width": (50, 125, 200)}
    assert "defects: none" in found.text()


def test_the_json_has_every_defect():
    log = DefectLog("skip", "skip")
    for i in range(12):
        log.box("zero_size", f"{i}.xml", "object 1 is nothing")
    log.image("cmyk", "c.jpg", "is in CMYK colours")
    found = report(log.defects)
    text = found.text()
    assert "zero_size: 12 skipped" in text
    assert "9.xml: object 1 is nothing" in text
    assert "10.xml" not in text
    assert "... and 2 more" in text
    assert text.index("zero_size") < text.index("cmyk: 1 skipped")
    content = json.loads(json.dumps(found.to_json()))
    assert len(content["defects"]) == 13
    assert content["defect_counts"] == {"zero_size skipped": 12, "cmyk skipped": 1}
