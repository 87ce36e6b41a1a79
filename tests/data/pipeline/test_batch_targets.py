import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zip_keras.config import DataConfig
from zip_keras.data.given import GivenProposals
from zip_keras.data.pipeline.batch_targets import box_capacity, boxes_of, example_targets, proposal_targets
from zip_keras.data.pipeline.plan import ExamplePlan
from zip_keras.data.records import Dataset, ImageRecord


def record(boxes, *, height=100, width=200, difficult=None, crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return ImageRecord(
        image_id=0,
        file="unread.jpg",
        height=height,
        width=width,
        boxes=boxes,
        classes=np.arange(len(boxes), dtype=np.int32),
        difficult=none if difficult is None else np.array(difficult, bool),
        crowd=none if crowd is None else np.array(crowd, bool),
        area=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1),
    )


def example(window=(0, 0, 100, 200), size=(100, 200), flip=False):
    return ExamplePlan(
        record=5, window=window, size=size, flip=flip, jitter=(1.0, 1.0, 1.0), seed=11, padded=(256, 256)
    )


def test_scale_by_hand():
    moved = boxes_of(record([[10, 20, 30, 60]]), example(size=(50, 300)))
    assert moved.boxes.tolist() == [[5, 30, 15, 90]]  # half as high, one and a half times as wide


def test_flip_by_hand():
    moved = boxes_of(record([[10, 20, 30, 60]]), example(flip=True))
    assert moved.boxes.tolist() == [[10, 140, 30, 180]]  # 200 - 60, 200 - 20


def test_crop_scale_and_flip_by_hand():
    moved = boxes_of(record([[30, 60, 50, 100]]), example(window=(20, 50, 60, 150), size=(80, 200), flip=True))
    # in the window [10, 10, 30, 50], doubled [20, 20, 60, 100], mirrored in a width of 200
    assert moved.boxes.tolist() == [[20, 100, 60, 180]]


def test_crop_clips_drops_and_marks_objects():
    boxes = [
        [0, 0, 100, 100],  # half of it is in the window: clipped
        [0, 20, 100, 80],  # 30 of its 60 columns are
        [0, 0, 100, 50],  # touches the window from outside: dropped
        [40, 60, 60, 80],  # inside
    ]
    moved = boxes_of(record(boxes), example(window=(0, 50, 100, 100), size=(100, 50)))
    assert moved.boxes.tolist() == [[0, 0, 100, 50], [0, 0, 100, 30], [40, 10, 60, 30]]
    assert moved.classes.tolist() == [0, 1, 3]
    assert moved.difficult.tolist() == [False, False, False]
    less = boxes_of(record(boxes), example(window=(0, 65, 100, 100), size=(100, 35)))
    # of the first 35 % is left, of the second 15 / 60, of the last 75 %
    assert less.difficult.tolist() == [True, True, False]


def test_flags_travel_with_their_objects():
    moved = boxes_of(
        record([[0, 0, 10, 10], [0, 100, 10, 120], [0, 150, 9, 170]], difficult=[1, 0, 1], crowd=[0, 1, 0]),
        example(window=(0, 50, 100, 200), size=(100, 150)),
    )
    assert moved.classes.tolist() == [1, 2]
    assert moved.difficult.tolist() == [False, True]
    assert moved.crowd.tolist() == [True, False]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_flipping_twice_is_the_identity_and_scaling_back_too(seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (6, 2)) * (1, 2)
    original = record(np.concatenate([corner, corner + rng.uniform(1, 40, (6, 2)) * (1, 2)], axis=1))
    height, width = rng.integers(50, 400, 2).tolist()
    there = boxes_of(original, example(size=(height, width), flip=True))
    back = boxes_of(
        record(there.boxes, height=height, width=width),
        example(window=(0, 0, height, width), size=(100, 200), flip=True),
    )
    np.testing.assert_allclose(back.boxes, original.boxes, atol=1e-3)
    assert np.all(there.boxes >= 0)
    assert np.all(there.boxes <= [height, width] * 2)


def test_targets_are_padded_and_typed():
    row = example_targets(record([[1, 2, 3, 4]], crowd=[True]), example(), capacity=8)
    assert row["boxes"].tolist() == [[1, 2, 3, 4]] + [[0, 0, 0, 0]] * 7
    assert row["classes"].tolist() == [0] + [-1] * 7
    assert row["crowd"].tolist() == [True] + [False] * 7
    assert not row["difficult"].any()
    assert row["size"].tolist() == [100, 200]
    assert (row["seed"], row["index"]) == (11, 5)
    kinds = {name: str(value.dtype) for name, value in row.items()}
    assert kinds == {
        "boxes": "float32",
        "classes": "int32",
        "difficult": "bool",
        "crowd": "bool",
        "size": "float32",
        "seed": "int32",
        "index": "int32",
    }


def test_an_image_without_objects_has_padding_only():
    row = example_targets(record([]), example(), capacity=8)
    assert row["classes"].tolist() == [-1] * 8


def test_too_many_objects_keep_the_trainable_and_large_ones():
    boxes = [[0, 0, 1, side] for side in (5, 90, 20, 30, 40, 50, 60, 70, 80, 10)]
    row = example_targets(record(boxes, difficult=[0, 1] + [0] * 8), example(), capacity=8)
    assert row["classes"].tolist() == [2, 3, 4, 5, 6, 7, 8, 9]  # the difficult one first, then the smallest


@pytest.mark.parametrize(("objects", "limit", "capacity"), [(0, None, 8), (8, None, 8), (9, None, 16), (9, 4, 8)])
def test_capacity_is_a_multiple_of_eight(objects, limit, capacity):
    images = Dataset("hand:made", (), (record([]), record([[0, 0, 1, 1]] * objects)))
    assert box_capacity(images, DataConfig(max_boxes=limit)) == capacity


def test_proposals_move_as_objects_do():
    boxes = np.array([[30, 60, 50, 100], [0, 0, 100, 40], [10, 40, 30, 70], [20, 50, 60, 150]], np.float32)
    given = GivenProposals(boxes, np.array([1, 2, 3, 0], np.int32))
    made = proposal_targets(given, example(window=(20, 50, 60, 150), size=(80, 200), flip=True), 5)
    # The second lies outside of the window; of the third 10 x 20 pixels are left, [0, 0, 10, 20] in the window.
    assert made["proposals"].tolist() == [[20, 100, 60, 180], [0, 160, 20, 200], [0, 0, 80, 200], [0] * 4, [0] * 4]
    assert made["proposal_levels"].tolist() == [1, 3, 0, 0, 0]
    assert {name: x.dtype.name for name, x in made.items()} == {"proposals": "float32", "proposal_levels": "int32"}
    few = proposal_targets(given, example(), 2)
    assert few["proposals"].tolist() == boxes[:2].tolist()
