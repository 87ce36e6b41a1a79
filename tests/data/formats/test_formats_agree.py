"""Five annotation formats of the same hundred images give the same boxes."""

import os

import numpy as np
import pytest

from zip_keras.data.sources import open_dataset

SPECS = {
    "voc": "voc:{0}/pascalvoc_format:all:{1}",
    "imagenet": "imagenet:{0}/imagenet_format:default:{1}",
    "coco": "coco:{0}/coco_format_v1/instances_default.json:{1}",
    "yolo": "yolo:{0}/yolo_format:train:{1}",
    "records": "records:{0}/tfrecord_format",
}


def objects(folder, form, pixels):
    """`{file stem or id: sorted rows of (class, y1, x1, y2, x2)}`."""
    found = open_dataset(SPECS[form].format(folder / "annotations", folder / "images"), pixels=pixels)
    return {
        str(r.image_id) if form == "records" else os.path.splitext(os.path.basename(r.file))[0]: sorted(
            (found.class_names[c], *box) for c, box in zip(r.classes, r.boxes.tolist(), strict=True)
        )
        for r in found.records
    }


@pytest.mark.parametrize("pixels", ["continuous", "one_based"])
@pytest.mark.parametrize("form", ["imagenet", "coco", "yolo", "records"])
def test_same_boxes_as_voc_when_the_numbers_are_taken_alike(real_data, form, pixels):
    folder = real_data("formats")
    voc, other = objects(folder, "voc", pixels), objects(folder, form, pixels)
    assert voc.keys() == other.keys()
    assert len(voc) == 100
    assert sum(map(len, voc.values())) == 273
    for image, rows in voc.items():
        assert [row[0] for row in rows] == [row[0] for row in other[image]], image
        boxes, others = (np.array([row[1:] for row in many]) for many in (rows, other[image]))
        np.testing.assert_allclose(others, boxes, atol=1e-3, err_msg=image)


def test_one_based_begins_a_pixel_earlier(real_data):
    folder = real_data("formats")
    edges, counted = objects(folder, "voc", "continuous"), objects(folder, "voc", "one_based")
    differences = {
        tuple(np.subtract(a[1:], b[1:])) for image in edges for a, b in zip(counted[image], edges[image], strict=True)
    }
    assert differences == {(-1, -1, 0, 0)}


def test_difficult_is_read(real_data):
    folder = real_data("formats")
    found = open_dataset(SPECS["voc"].format(folder / "annotations", folder / "images"))
    assert sum(int(record.difficult.sum()) for record in found.records) == 38
