"""Protocols `coco` and `fast`: hand-computed cases, then pycocotools as the oracle, then properties."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import ground_truth, proposals, random_pair, write_coco

from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth_files import read_ground_truth
from zip_keras.evaluation.matching import match_ranks
from zip_keras.evaluation.protocols import IOU_THRESHOLDS
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions

BOX = [10.0, 10.0, 100.0, 100.0]
BOTH = pytest.mark.parametrize("protocol", ["coco", "fast"])


@BOTH
def test_a_box_of_iou_075_counts_at_six_thresholds(protocol):
    truth = ground_truth({1: [BOX]})
    found = proposals({1: [([10.0, 10.0, 100.0, 75.0], 0.9)]})  # IoU = 75 / 100
    result = average_recall(truth, found, protocol)
    assert result["AR@10"] == pytest.approx(0.6)  # .5 .55 .6 .65 .7 .75
    assert result["AR@100-L"] == pytest.approx(0.6)
    assert math.isnan(result["AR@100-S"])
    assert math.isnan(result["AR@100-M"])


@BOTH
def test_an_image_without_proposals_still_counts_its_objects(protocol):
    truth = ground_truth({1: [BOX], 2: [BOX]})
    assert average_recall(truth, proposals({1: [(BOX, 0.9)]}), protocol)["AR@10"] == 0.5


@BOTH
def test_no_proposals_at_all_is_zero_recall(protocol):
    assert average_recall(ground_truth({1: [BOX]}), Predictions(), protocol)["AR@1000"] == 0.0


@BOTH
def test_budget_counts_the_best_scores_of_an_image(protocol):
    far = [([500.0 + 10 * i, 500.0, 5.0, 5.0], 0.9) for i in range(10)]
    found = proposals({1: [*far, (BOX, 0.1)]})  # the right box is number 11
    result = average_recall(ground_truth({1: [BOX]}), found, protocol)
    assert (result["AR@10"], result["AR@100"]) == (0.0, 1.0)


@BOTH
def test_one_proposal_finds_one_object(protocol):
    truth = ground_truth({1: [BOX, BOX]})
    assert average_recall(truth, proposals({1: [(BOX, 0.9)]}), protocol)["AR@10"] == 0.5


@BOTH
def test_difficult_and_crowd_objects_are_not_counted(protocol):
    other = [500.0, 500.0, 50.0, 50.0]
    truth = ground_truth({1: [BOX, other, other]}, crowd=[1], difficult=[2])
    assert average_recall(truth, proposals({1: [(BOX, 0.9)]}), protocol)["AR@10"] == 1.0


@BOTH
def test_an_object_of_id_0_counts(protocol, tmp_path):
    file = tmp_path / "gt.json"
    write_coco(file, ground_truth({1: [BOX]}))
    content = json.loads(file.read_text())
    content["annotations"][0]["id"] = 0
    file.write_text(json.dumps(content))
    assert average_recall(read_ground_truth(str(file)), proposals({1: [(BOX, 0.9)]}), protocol)["AR@10"] == 1.0


@BOTH
def test_an_object_of_exactly_32_squared_is_small_and_medium(protocol):
    box = [0.0, 0.0, 32.0, 32.0]
    result = average_recall(ground_truth({1: [box]}), proposals({1: [(box, 1.0)]}), protocol)
    assert (result["AR@100-S"], result["AR@100-M"]) == (1.0, 1.0)


def test_rank_at_which_an_object_is_taken():
    near = [10.0, 10.0, 100.0, 75.0]
    ranks = match_ranks(ground_truth({1: [BOX]}), proposals({1: [([500, 500, 9, 9], 0.9), (near, 0.8), (BOX, 0.7)]}))
    assert ranks[0, :, 0].tolist() == [1] * 6 + [2] * 4  # the loose box up to .75, the tight one beyond


@pytest.mark.parametrize("seed", range(5))
def test_coco_is_pycocotools_on_the_files(seed, tmp_path, capsys):
    """The oracle goes from the json files through pycocotools' own readers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = random_pair(seed)
    truth_file = write_coco(tmp_path / "gt.json", truth)
    content = json.loads((tmp_path / "gt.json").read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] |= annotation["difficult"]
    (tmp_path / "oracle.json").write_text(json.dumps(content))
    write_predictions(str(tmp_path / "p.json"), found)
    gt = COCO(str(tmp_path / "oracle.json"))
    evaluator = COCOeval(gt, gt.loadRes(str(tmp_path / "p.json")), "bbox")
    evaluator.params.useCats = 0
    evaluator.params.maxDets = [10, 100, 500, 1000]
    evaluator.evaluate()
    evaluator.accumulate()
    recall = evaluator.eval["recall"]  # [thresholds, 1, ranges, budgets]; averaged as `summarize` does
    result = average_recall(read_ground_truth(truth_file), found, "coco")
    assert [result[f"AR@{n}"] for n in (10, 100, 500, 1000)] == [np.mean(recall[:, 0, 0, m]) for m in range(4)]
    sizes = [np.mean(recall[:, 0, a, 1]) for a in (1, 2, 3)]
    assert [result[f"AR@100-{s}"] for s in "SML"] == pytest.approx(
        [s if s >= 0 else math.nan for s in sizes], 0, 0, True
    )


def same(a, b):
    return a.keys() == b.keys() and np.array_equal(list(a.values()), list(b.values()), equal_nan=True)


@pytest.mark.parametrize("seed", range(30))
def test_fast_is_coco_to_the_last_bit(seed):
    truth, found = random_pair(seed, images=8, boxes=40)
    budgets = (1, 3, 10, 100, 1000)
    assert same(average_recall(truth, found, "fast", budgets), average_recall(truth, found, "coco", budgets))


coordinate = st.sampled_from([0.0, 1.0, 8.0, 10.1, 30.3, 32.0, 96.0])
side = st.sampled_from([1.0, 8.0, 10.1, 20.2, 32.0, 64.0, 96.0, 200.0])
box = st.tuples(coordinate, coordinate, side, side).map(list)
score = st.sampled_from([-5.0, 0.0, -0.0, 0.5, 0.5, 1.0, 1e300])
scene = st.lists(
    st.tuples(
        st.lists(
            st.tuples(box, st.sampled_from(["counted", "counted", "crowd", "difficult"]), st.integers(0, 1)), max_size=6
        ),
        st.lists(st.tuples(box, score, st.integers(1, 3)), max_size=14),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300)
@given(scene)
def test_fast_is_coco_on_ties_crowds_duplicates_and_empty_images(images):
    """Few coordinates and scores, so that equal scores, equal overlaps and equal boxes are the rule."""
    objects = [row for rows, _, _ in images for row in rows]
    truth = ground_truth(
        {number: [row[0] for row in rows] for number, (rows, _, _) in enumerate(images)},
        crowd=[i for i, row in enumerate(objects) if row[1] == "crowd"],
        difficult=[i for i, row in enumerate(objects) if row[1] == "difficult"],
        classes=[row[2] for row in objects],
        names=("a", "b"),
    )
    found = Predictions()
    for number, (rows, boxes, copy_objects) in enumerate(images):
        boxes = boxes + [(row[0], 0.5, 1) for row in rows if copy_objects]
        if boxes:
            found.add_xywh(number, *(list(column) for column in zip(*boxes, strict=True)))
    budgets = (1, 2, 5, 100)
    assert same(average_recall(truth, found, "fast", budgets), average_recall(truth, found, "coco", budgets))


@BOTH
def test_no_image_at_all_has_no_recall(protocol):
    assert all(math.isnan(value) for value in average_recall(ground_truth({}), Predictions(), protocol).values())


def test_recall_does_not_depend_on_block_size(monkeypatch):
    truth, found = random_pair(3, images=30)
    whole = match_ranks(truth, found)
    monkeypatch.setattr("zip_keras.evaluation.matching._BLOCK", 1)
    assert np.array_equal(match_ranks(truth, found), whole)


def test_scaling_everything_keeps_recall_over_all_sizes():
    truth, found = random_pair(5)
    scaled = type(truth)(**{**vars(truth), "xywh": truth.xywh * 2, "areas": truth.areas * 4})
    twice = Predictions()
    for part in found:
        twice.add_xywh(part.image_id, part.xywh * 2, part.scores)
    before, after = average_recall(truth, found), average_recall(scaled, twice)
    assert [before[f"AR@{n}"] for n in (10, 100)] == [after[f"AR@{n}"] for n in (10, 100)]


def test_thresholds_are_those_of_pycocotools():
    from pycocotools.cocoeval import Params

    assert np.array_equal(Params("bbox").iouThrs, IOU_THRESHOLDS)


def test_fast_imports_neither_tensorflow_nor_pycocotools(run_lazily):
    code = (
        "import sys; import zip_keras.evaluation.average_recall; "
        "print(sorted({'tensorflow', 'pycocotools', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    assert run_lazily(code) == "[]"
