import numpy as np
import pytest
from keras import ops

from zip_keras.config import AnchorConfig, RoITargetConfig
from zip_keras.targets.rois import sample_rois

BOX, OTHER = [10, 10, 50, 50], [60, 60, 100, 100]


def targets(boxes, classes, **flags):
    count = len(boxes)
    return {
        "boxes": np.array([boxes], "float32").reshape(1, count, 4),
        "classes": np.array([classes], "int32"),
        "difficult": np.array([flags.get("difficult", [False] * count)]),
        "crowd": np.array([flags.get("crowd", [False] * count)]),
        "size": np.array([[120, 120]], "float32"),
        "seed": np.array([flags.get("seed", 1)], "int32"),
    }


def draw(proposals, truth, **changes):
    """The sample of one image, as arrays without the batch, of the used places."""
    config = RoITargetConfig(**{"per_image": 16, **changes})
    boxes = np.array([proposals], "float32").reshape(1, -1, 4)
    valid, levels = np.ones(boxes.shape[:2], bool), np.full(boxes.shape[:2], 2, "int32")
    found = [ops.convert_to_numpy(x)[0] for x in sample_rois(boxes, valid, levels, truth, config, AnchorConfig())]
    used = found[-1] > 0
    return [x[used] for x in found[:-1]]


def test_labels_by_hand():
    """IoU with BOX: 1, 2/3, 1/3, 0; the object itself is appended."""
    proposals = [BOX, [10, 10, 50, 34], [10, 10, 50, 70 + 20], OTHER]
    proposals[1] = [10, 10, 50, 36.6666]  # 2/3 of it
    proposals[2] = [10, 10, 50, 130]  # a third: 40 of 120 wide
    boxes, levels, classes, matched = draw(proposals, targets([BOX], [4]))
    by_box = {tuple(np.round(box, 2)): label for box, label in zip(boxes.tolist(), classes, strict=True)}
    assert by_box == {(10, 10, 50, 50): 5, (10, 10, 50, 36.67): 5, (10, 10, 50, 120): 0, (60, 60, 100, 100): 0}
    assert sorted(classes) == [0, 0, 5, 5, 5]
    assert (matched[classes == 5] == BOX).all()
    assert set(levels) <= {1, 2}  # 40 x 40 is nearer to the scale 32 than to 64


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_objects_that_do_not_count_are_neither(flag):
    truth = targets([BOX, OTHER], [0, 1], **{flag: [True, False]})
    boxes, _, classes, _ = draw([BOX, [10, 10, 50, 48], OTHER, [80, 0, 110, 30]], truth)
    assert sorted(classes) == [0, 2, 2]
    assert [int((boxes == box).all(axis=1).sum()) for box in (BOX, [10, 10, 50, 48])] == [0, 0]


def test_share_of_positives_and_background_that_fills_up():
    proposals = [BOX] * 40 + [[80, y, 110, y + 30] for y in range(60)]
    _, _, classes, _ = draw(proposals, targets([BOX], [0]))
    assert (classes[:4] == 1).all()
    assert (classes[4:] == 0).all()
    assert len(classes) == 16


def test_the_draw_depends_on_the_seed_alone():
    proposals = [[80, y, 110, y + 30] for y in range(60)]
    first, again, other = (draw(proposals, targets([BOX], [0], seed=seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_object_and_no_proposal_leave_nothing_used():
    config, truth = RoITargetConfig(per_image=8), targets([[0, 0, 0, 0]], [-1])
    empty = (np.zeros((1, 3, 4), "float32"), np.zeros((1, 3), bool), np.zeros((1, 3), "int32"))
    sample = sample_rois(*empty, truth, config, AnchorConfig())
    assert float(ops.sum(sample.used)) == 0
    assert np.isfinite(ops.convert_to_numpy(sample.boxes)).all()
    _, _, classes, _ = draw([OTHER], truth)
    assert classes.tolist() == [0]


def test_no_ground_truth_is_appended_when_not_wanted():
    boxes, *_ = draw([OTHER], targets([BOX], [0]), append_ground_truth=False)
    assert boxes.tolist() == [OTHER]
