"""Ground truth from readers and from COCO json."""

import json

import numpy as np
import pytest
from scenes import ground_truth, write_coco

from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.predictions.container import Predictions


def record(image_id, boxes, difficult=False, crowd=False):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    flags = (np.full(len(boxes), difficult), np.full(len(boxes), crowd))
    return ImageRecord(image_id, "x.jpg", 100, 200, boxes, np.zeros(len(boxes), np.int32), *flags, area)


def dataset(*records):
    return Dataset("data", ("thing",), records)


def test_records_become_rows():
    truth = from_dataset(
        dataset(record(1, [[10, 20, 30, 60]]), record("b", []), record(3, [[0, 0, 5, 5]], difficult=True))
    )
    assert truth.xywh.tolist() == [[20, 10, 40, 20], [0, 0, 5, 5]]
    assert truth.areas.tolist() == [800, 25]
    assert list(truth.rows()) == [(1, slice(0, 1)), ("b", slice(1, 1)), (3, slice(1, 2))]
    assert truth.counted.tolist() == [True, False]
    assert truth.sizes.tolist() == [[100, 200]] * 3
    assert truth.category_ids == (1,)


def test_a_data_set_is_measured_as_it_is():
    found = Predictions()
    found.add(1, [[10, 20, 30, 60]], [0.9])
    assert average_recall(dataset(record(1, [[10, 20, 30, 60]]), record(2, [[0, 0, 9, 9]])), found)["AR@10"] == 0.5


def test_the_same_id_twice_is_an_error():
    with pytest.raises(UserError, match="image 1 is there twice"):
        from_dataset(dataset(record(1, []), record(1, [])))


def test_a_data_set_without_objects_has_no_recall():
    assert np.isnan(average_recall(dataset(record(1, [])), Predictions())["AR@10"])


def test_json_keeps_its_doubles_and_groups_annotations_by_image(tmp_path):
    content = {
        "images": [{"id": 5, "height": 90, "width": 80}, {"id": 2}],
        "annotations": [
            {"id": 0, "image_id": 2, "category_id": 7, "bbox": [0.1, 0.2, 0.3, 0.4], "area": 0.07, "iscrowd": 1},
            {"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 2, "category_id": 3, "bbox": [5, 6, 0, 8], "area": 9},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    for spec in ("gt.json", "coco:gt.json", "coco:gt.json:images"):
        truth = read_ground_truth(str(tmp_path / "gt.json").join(spec.split("gt.json")))
        assert truth.image_ids == (5, 2)
        assert truth.starts.tolist() == [0, 1, 3]
        assert truth.xywh.tolist() == [[1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [5, 6, 0, 8]]
        assert truth.areas.tolist() == [12, 0.07, 9]
        assert [truth.class_names[c] for c in truth.classes] == ["dog", "cat", "dog"]
        assert truth.crowd.tolist() == [False, True, False]
        assert np.isnan(truth.sizes[1]).all()


def test_a_devkit_and_its_json_measure_the_same(voc, tmp_path):
    truth = read_ground_truth(f"{voc}:val")
    assert (len(truth), len(truth.xywh)) == (500, 1496)
    same = read_ground_truth(write_coco(tmp_path / "gt.json", truth))
    rng, found = np.random.default_rng(0), Predictions()
    for image_id, rows in truth.rows():
        boxes = truth.xywh[rows][rng.integers(0, rows.stop - rows.start, 30)]
        found.add_xywh(image_id, boxes + rng.normal(0, 4, boxes.shape).clip(-6, 6), rng.random(30))
    results = [average_recall(t, found, protocol) for t in (truth, same) for protocol in ("fast", "coco")]
    assert results[0]["AR@100"] > 0.5
    assert results.count(results[0]) == 4


def test_a_broken_annotation_of_a_devkit_names_the_way_out(real_data):
    bccd = real_data("bccd")
    with pytest.raises(UserError, match="--on-bad-object=skip"):
        read_ground_truth(f"{bccd}:val")
    assert len(read_ground_truth(f"{bccd}:val", "skip")) > 50


def test_scene_helper_writes_what_it_means(tmp_path):
    truth = ground_truth({1: [[1, 2, 3, 4]]}, difficult=[0])
    assert read_ground_truth(write_coco(tmp_path / "gt.json", truth)).difficult.tolist() == [True]
