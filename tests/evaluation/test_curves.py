"""Curves and groups of objects."""

import numpy as np
import pytest
from scenes import ground_truth, proposals, random_pair

from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.curves import (
    FINE_THRESHOLDS,
    NUMBERS,
    class_groups,
    found_per_image,
    groups_of_classes,
    recall_curves,
    recall_of_groups,
    size_groups,
    split_classes,
)

BOX, FAR = [0.0, 0.0, 100.0, 100.0], [500.0, 500.0, 100.0, 100.0]


def test_recall_against_iou_steps_down_at_the_overlaps():
    truth = ground_truth({1: [BOX, FAR]})
    found = proposals({1: [([0.0, 0.0, 100.0, 75.0], 0.9), (FAR, 0.8)]})  # IoU .75 and 1
    recall = recall_curves(truth, found).against_iou(10)
    assert recall.tolist() == [1.0 if t <= 0.75 else 0.5 for t in FINE_THRESHOLDS]
    assert recall_curves(truth, found).against_iou(1)[0] == 0.5


def test_recall_against_number_steps_up_at_the_rank():
    found = proposals({1: [*(([9.0 * i, 700.0, 5.0, 5.0], 1 - i / 100) for i in range(3)), (BOX, 0.1)]})
    recall = recall_curves(ground_truth({1: [BOX]}), found).against_number(0.8)
    assert recall.tolist() == [float(n >= 4) for n in NUMBERS]  # the fourth proposal finds it


def test_average_curve_passes_through_average_recall():
    truth, found = random_pair(2)
    curve = recall_curves(truth, found).average_against_number()
    for budget in (1, 10, 100):
        at = np.flatnonzero(np.abs(NUMBERS - budget) == np.abs(NUMBERS - budget).min())[0]
        exact = average_recall(truth, found, budgets=(int(NUMBERS[at]),))[f"AR@{NUMBERS[at]}"]
        assert curve[at] == pytest.approx(exact, abs=1e-12)


def test_classes_are_measured_as_if_the_others_were_ignored():
    truth = ground_truth({1: [BOX, BOX, FAR]}, classes=[0, 1, 1], names=("cat", "dog", "cow"))
    found = proposals({1: [(BOX, 0.9)]})  # one box for two objects: each class alone has it
    recall = recall_of_groups(truth, found, class_groups(truth), (10,))
    assert (recall["cat"][10], recall["dog"][10]) == (1.0, 0.5)
    assert np.isnan(recall["cow"][10])


def test_seen_and_unseen():
    truth = ground_truth({1: [BOX, FAR]}, classes=[0, 1], names=("cat", "dog"))
    found = proposals({1: [(BOX, 0.9)]})
    groups = split_classes(truth, ["cat"], [])
    assert groups == split_classes(truth, [], ["dog"]) == {"all": ("cat", "dog"), "seen": ("cat",), "unseen": ("dog",)}
    recall = recall_of_groups(truth, found, groups_of_classes(truth, groups), (10,))
    assert [recall[group][10] for group in ("all", "seen", "unseen")] == [0.5, 1.0, 0.0]
    for names in ((["horse"], []), ([], ["horse"])):
        with pytest.raises(UserError, match="'horse' is no class"):
            split_classes(truth, *names)


def test_size_groups_are_those_of_average_recall():
    truth, found = random_pair(7)
    recall, table = average_recall(truth, found), recall_of_groups(truth, found, size_groups(truth))
    for size in "ML":
        assert table[size][100] == pytest.approx(recall[f"AR@100-{size}"], abs=1e-12)


def test_images_add_up_to_average_recall():
    truth, found = random_pair(4)
    per_image, objects = found_per_image(truth, found, 10)
    assert per_image.sum() / objects.sum() == pytest.approx(average_recall(truth, found)["AR@10"], abs=1e-12)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_picture_of_two_methods(suffix, tmp_path):
    pytest.importorskip("matplotlib")
    from zip_keras.plots.recall import recall_figure

    truth, found = random_pair(0)
    figure = recall_figure([recall_curves(truth, found, name) for name in ("ours", "theirs")])
    assert len(figure.axes) == 5
    assert all(len(axes.lines) == 2 for axes in figure.axes)
    figure.savefig(tmp_path / f"curves.{suffix}")
    assert (tmp_path / f"curves.{suffix}").stat().st_size > 1000


def test_groups_in_parts_are_the_same_groups(monkeypatch):
    truth, found = random_pair(5)
    groups = class_groups(truth) | size_groups(truth)
    whole = recall_of_groups(truth, found, groups)
    monkeypatch.setattr("zip_keras.evaluation.curves._RANKS", 1)
    in_parts = recall_of_groups(truth, found, groups)
    assert list(in_parts) == list(groups)
    np.testing.assert_array_equal(
        [list(row.values()) for row in in_parts.values()], [list(r.values()) for r in whole.values()]
    )
