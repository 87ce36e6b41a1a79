"""Levels of proposals: kept through memory and checks, and measured by hand."""

import json

import numpy as np
import pytest
from scenes import ground_truth, random_pair, write_coco

from zip_keras.cli import main
from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.checks import Policy, check_predictions
from zip_keras.evaluation.per_level import per_level
from zip_keras.predictions.container import Predictions
from zip_keras.predictions.formats import write_predictions

SMALL, LARGE = [0.0, 0.0, 20.0, 20.0], [200.0, 200.0, 300.0, 300.0]
AWAY = [600.0, 600.0, 50.0, 50.0]


def two_images():
    """Image 1: level 1 finds the small object, level 3 the large one with its second box; image 2: nothing found."""
    found = Predictions("p.json")
    found.add_xywh(1, [LARGE, AWAY, SMALL], [0.7, 0.9, 0.8], levels=[3, 3, 1])
    found.add_xywh(2, [AWAY], [0.5], levels=[3])
    return ground_truth({1: [SMALL, LARGE], 2: [LARGE], 3: []}), found


def test_levels_follow_their_boxes_in_the_order_of_scores():
    _, found = two_images()
    assert found[1].levels.tolist() == [3, 1, 3]
    assert found[1].xywh.tolist() == [AWAY, SMALL, LARGE]
    found.add(1, np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0.85]))
    assert found[1].levels.tolist() == [3, 0, 1, 3]
    assert found.levels == (0, 1, 3)
    assert found["nowhere"].levels.tolist() == []


def test_levels_must_fit():
    with pytest.raises(ValueError, match="2 boxes, 2 scores, 2 categories, 1 levels"):
        Predictions().add_xywh(1, [SMALL, LARGE], [1, 2], levels=[1])
    with pytest.raises(ValueError, match="level -1"):
        Predictions().add_xywh(1, [SMALL], [1], levels=[-1])


def test_checks_keep_the_levels_of_the_boxes_they_keep():
    truth = ground_truth({1: [SMALL]})
    found = Predictions()
    found.add_xywh(1, [[0, 0, -1, 5], SMALL, [5000, 0, 9, 9], LARGE], [4, 3, 2, 1], levels=[1, 2, 3, 1])
    checked = check_predictions(found, truth, Policy(bad_box="skip", outside="skip"))
    assert checked.proposals[1].levels.tolist() == [2, 1]


@pytest.mark.parametrize("protocol", ["fast", "coco", "hosang"])
def test_numbers_by_hand(protocol):
    truth, found = two_images()
    numbers = per_level(truth, found, protocol, budgets=(1, 2, 10))
    assert list(numbers) == [1, 3]
    # First places: AWAY (3) and AWAY (3); first two: AWAY SMALL (1), AWAY; all four boxes: one of level 1.
    assert [numbers[1][f"share@{n}"] for n in (1, 2, 10)] == [0.0, pytest.approx(1 / 3), 0.25]
    assert [numbers[3][f"share@{n}"] for n in (1, 2, 10)] == [1.0, pytest.approx(2 / 3), 0.75]
    # Three objects. Alone, level 1 finds the small one at once, level 3 a large one with its second box.
    third = pytest.approx(1 / 3)
    assert [numbers[1][f"AR@{n}"] for n in (1, 2, 10)] == [third] * 3
    assert [numbers[3][f"AR@{n}"] for n in (1, 2, 10)] == [0.0, third, third]
    assert (numbers[1]["AR@100-S"], numbers[1]["AR@100-L"]) == (1.0, 0.0)
    assert (numbers[3]["AR@100-S"], numbers[3]["AR@100-L"]) == (0.0, 0.5)
    assert np.isnan(numbers[1]["AR@100-M"])


def test_one_level_is_the_whole_list():
    truth, found = random_pair(3)
    with_levels = Predictions()
    for part in found:
        with_levels.add_xywh(part.image_id, part.xywh, part.scores, levels=np.full(len(part), 2))
    numbers = per_level(truth, with_levels)[2]
    for name, value in average_recall(truth, found, "fast", (10, 100, 1000)).items():
        assert numbers.pop(name) == pytest.approx(value, abs=0, nan_ok=True)
    assert set(numbers.values()) == {1.0}


def test_shares_of_levels_add_up_without_images_without_truth():
    truth, found = random_pair(4)
    levels = np.random.default_rng(0)
    with_levels = Predictions()
    for part in found:
        with_levels.add_xywh(part.image_id, part.xywh, part.scores, levels=levels.integers(0, 4, len(part)))
    before = per_level(truth, with_levels)
    assert list(before) == [0, 1, 2, 3]
    for budget in (10, 100, 1000):
        assert sum(row[f"share@{budget}"] for row in before.values()) == pytest.approx(1.0)
    with_levels.add_xywh("elsewhere", [SMALL] * 50, np.ones(50), levels=np.ones(50, int))
    assert per_level(truth, with_levels) == before


@pytest.fixture
def files(tmp_path):
    truth, found = two_images()
    write_predictions(str(tmp_path / "p.json"), found)
    return [
        "evaluate",
        "--ground-truth",
        write_coco(tmp_path / "gt.json", truth),
        "--proposals",
        str(tmp_path / "p.json"),
    ]


@pytest.mark.parametrize("protocol", [[], ["--protocol", "fast"]])
def test_the_command_prints_and_writes_them(files, protocol, tmp_path, capsys):
    assert main([*files, *protocol, "--per-level", "--json", str(tmp_path / "r.json")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["level", "1", "0.2500", "0.2500", "0.2500", "0.3333", "0.3333", "0.3333", "1.0000", "-", "0.0000"] in lines
    levels = json.loads((tmp_path / "r.json").read_text())["levels"]
    assert list(levels) == ["1", "3"]
    assert (levels["3"]["share@10"], levels["3"]["AR@100-L"], levels["3"]["AR@100-M"]) == (0.75, 0.5, None)


def test_without_the_flag_nothing_is_said_of_levels(files, tmp_path, capsys):
    assert main([*files, "--json", str(tmp_path / "r.json")]) == 0
    assert "level" not in capsys.readouterr().out
    assert "levels" not in json.loads((tmp_path / "r.json").read_text())


def test_a_file_without_levels_and_detections_are_refused(files, tmp_path, capsys):
    truth, found = two_images()
    without = Predictions("old.json")
    without.add_xywh(1, found[1].xywh, found[1].scores)
    with pytest.raises(UserError, match=r"old\.json: no proposal says which level"):
        per_level(truth, without)
    write_predictions(files[4], without)
    assert main([*files, "--per-level"]) == 2
    assert main([*files[:3], "--detections", files[4], "--per-level"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "p.json: no proposal says which level it comes from" in errors[0]
    assert "--per-level is for proposals" in errors[1]
    assert len(errors) == 2
