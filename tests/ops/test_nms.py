"""NMS of every class against the definition, one class after the other."""

import keras
import numpy as np
import pytest
from keras import ops

from zip_keras.ops.converting import converting
from zip_keras.ops.nms import ABSENT, class_nms, greedy_keep, keep_by_rank


def overlap(a, b):
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    area = [np.prod(box[2:] - box[:2]) for box in (a, b)]
    return np.prod(sides) / (sum(area) - np.prod(sides))


def by_definition(boxes, scores, classes, iou, keep):
    kept = []
    for place in range(len(scores)):
        rivals = [other for other in kept if classes[other] == classes[place]]
        if scores[place] > ABSENT / 2 and all(overlap(boxes[place], boxes[other]) <= iou for other in rivals):
            kept.append(place)
    return kept[:keep]


def scene(rng, count=120, classes=4):
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype("float32")
    scores = np.sort(rng.uniform(0, 1, count).astype("float32"))[::-1].copy()
    scores[-7:] = ABSENT
    return boxes, scores, rng.integers(0, classes, count).astype("int32")


def test_every_class_by_itself():
    rng = np.random.default_rng(0)
    boxes, scores, classes = (np.stack(parts) for parts in zip(scene(rng), scene(rng), strict=True))
    for keep in (10, 100):
        found, places = (ops.convert_to_numpy(x) for x in class_nms(boxes, scores, classes, 4, 0.4, keep))
        for i in range(2):
            expected = by_definition(boxes[i], scores[i], classes[i], 0.4, keep)
            assert places[i][: len(expected)].tolist() == expected
            np.testing.assert_array_equal(found[i][: len(expected)], scores[i][expected])
            assert (found[i][len(expected) :] == ABSENT).all()
    assert len(expected) < 100


def test_the_portable_form_gives_the_same():
    boxes, scores, classes = scene(np.random.default_rng(1))
    keep = greedy_keep(boxes[None], (scores > ABSENT / 2)[None], 0.4, classes[None])
    assert np.flatnonzero(ops.convert_to_numpy(keep)[0]).tolist() == by_definition(boxes, scores, classes, 0.4, 999)
    assert len(by_definition(boxes, scores, 0 * classes, 0.4, 999)) < int(np.sum(keep))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="kernels of TensorFlow")
@pytest.mark.parametrize("classes", [1, 4])
def test_the_kernel_that_litert_has_gives_the_same(classes):
    boxes, scores, of_box = scene(np.random.default_rng(2))
    rank = np.where(scores > ABSENT / 2, np.arange(len(scores), 0, -1), 0).astype("float32")
    ranks = rank[:, None] * np.eye(classes, dtype="float32")[of_box % classes]
    arguments = (boxes[None, :, None], ranks[None], 0.4, 30)
    expected = [ops.convert_to_numpy(x) for x in keep_by_rank(*arguments)]
    with converting("litert"):
        found = [ops.convert_to_numpy(x) for x in keep_by_rank(*arguments)]
    np.testing.assert_array_equal(found[1], expected[1])
    kept = expected[1] > 0
    assert 20 < kept.sum() < classes * 30 + 1
    np.testing.assert_array_equal(found[0][kept], expected[0][kept])
