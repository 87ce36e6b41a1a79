"""The kinds of error by hand, and against tidecv."""

import numpy as np
import pytest
from scenes import ground_truth, random_detections

from zip_keras.evaluation.average_precision import fast_average_precision
from zip_keras.evaluation.error_kinds import KINDS, error_kinds, judge_image
from zip_keras.predictions.container import Predictions

A, B, NOWHERE = [0.0, 0.0, 100.0, 100.0], [300.0, 300.0, 100.0, 100.0], [600.0, 600.0, 50.0, 50.0]
NEAR_A = [0.0, 0.0, 100.0, 40.0]  # IoU .4
NAMES = ("cat", "dog")


def judged(rows, classes=(0, 1), **flags):
    """Errors of detections `(box, class number)`, best first, in an image with the cat A and the dog B."""
    truth = ground_truth({1: [A, B]}, classes=classes, names=NAMES, **flags)
    found = Predictions()
    scores = np.linspace(0.9, 0.1, len(rows))
    found.add_xywh(1, [box for box, _ in rows], scores, [number + 1 for _, number in rows])
    return judge_image(truth, 0, found), error_kinds(truth, found)


@pytest.mark.parametrize(
    ("box", "number", "kind"),
    [
        (A, 0, "right"),
        (NEAR_A, 0, "localisation"),
        (A, 1, "classification"),
        (NEAR_A, 1, "both"),
        (NOWHERE, 0, "background"),
    ],
)
def test_one_detection(box, number, kind):
    image, errors = judged([(box, number)])
    assert image.verdicts == [kind]
    assert image.missed.tolist() == [kind not in ("right", "localisation", "classification"), True]
    assert sum(errors.counts.values()) == (kind != "right") + image.missed.sum()


def test_a_second_detection_is_a_duplicate():
    image, errors = judged([(A, 0), (A, 0), (B, 1)])
    assert image.verdicts == ["right", "duplicate", "right"]
    assert errors.ap == pytest.approx(1.0)  # behind the last right one of its class
    image, errors = judged([(A, 0), (A, 0), (B, 0)], classes=(0, 0))
    assert errors.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert errors.cost["duplicate"] == pytest.approx(1 - errors.ap)
    assert errors.false_alarms == pytest.approx(1 - errors.ap)
    assert errors.cost["localisation"] == errors.all_missed == 0.0


def test_the_best_of_several_becomes_right_when_it_is_corrected():
    image, errors = judged([(NEAR_A, 0), (NEAR_A, 0), (B, 1)])
    assert image.verdicts == ["localisation", "localisation", "right"]
    assert image.corrected.tolist() == [0, -1, -1]
    assert errors.ap == pytest.approx(0.5)
    assert errors.cost["localisation"] == pytest.approx(0.5)
    assert errors.counts["missed"] == 0  # a correction finds the object


def test_a_corrected_class_is_the_objects_own():
    _, errors = judged([(A, 1), (B, 1)])
    assert errors.ap == pytest.approx(0.25)  # the cat 0, the dog behind a false alarm 1/2
    assert errors.cost["classification"] == pytest.approx(0.75)


def test_an_object_that_is_missed_is_not_asked_for():
    _, errors = judged([(B, 1), (NOWHERE, 1)])
    assert errors.cost["missed"] == pytest.approx(0.5)  # the cat has no detection: its class is left out
    assert errors.cost["background"] == 0.0


def test_what_is_found_on_ignored_objects_is_no_error():
    assert judged([(B, 1), (B, 1), (A, 0)], difficult=[1])[0].verdicts == ["ignored", "background", "right"]
    inside = [310.0, 310.0, 20.0, 20.0]
    assert judged([(B, 1), (inside, 1), (A, 0)], crowd=[1])[0].verdicts == ["ignored", "ignored", "right"]


def test_limit_and_classes_that_the_data_lacks():
    truth = ground_truth({1: [A]}, names=NAMES)
    found = Predictions()
    found.add_xywh(1, [NOWHERE, NOWHERE, A], [0.9, 0.8, 0.7], [7, 1, 1])
    assert error_kinds(truth, found, limit=2).counts["background"] == 1
    assert error_kinds(truth, found, limit=2).ap == pytest.approx(0.5)
    assert error_kinds(truth, found, limit=1).ap == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_coco(seed):
    """With tied scores, crowds and difficult objects."""
    truth, found = random_detections(seed)
    assert error_kinds(truth, found).ap == pytest.approx(fast_average_precision(truth, found)["AP50"], abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_the_numbers_of_tide(seed, monkeypatch):
    """Of untied scores, without ignored objects: tidecv takes difficult ones as crowds."""
    tidecv = pytest.importorskip("tidecv")
    # tidecv's recall levels; COCO's, which we use, differ from them in the last bit.
    monkeypatch.setattr("zip_keras.evaluation.average_precision.RECALL_LEVELS", np.arange(101) / 100)
    truth, found = random_detections(seed, images=31, ignored=False, tied=False)
    objects, detections = tidecv.Data("truth"), tidecv.Data("found", max_dets=100)
    for image_id, rows in truth.rows():
        objects.add_image(image_id, str(image_id))
        for row in range(rows.start, rows.stop):
            objects.add_ground_truth(image_id, truth.category_ids[truth.classes[row]], truth.xywh[row].tolist())
        part = found[image_id]
        for columns in zip(part.categories.tolist(), part.scores.tolist(), part.xywh.tolist(), strict=True):
            detections.add_detection(image_id, *columns)
    tide = tidecv.TIDE()
    run = tide.evaluate(objects, detections, mode=tidecv.TIDE.BOX)
    errors = error_kinds(truth, found)
    assert 100 * errors.ap == pytest.approx(run.ap, abs=1e-9)
    short = dict(zip(KINDS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
    assert {short[kind]: 100 * cost for kind, cost in errors.cost.items()} == pytest.approx(
        tide.get_main_errors()["found"], abs=1e-9
    )
    assert errors.counts == {kind: len(run.error_dict[of]) for kind, of in zip(KINDS, run.error_dict, strict=True)}
    special = tide.get_special_errors()["found"]
    assert 100 * errors.false_alarms == pytest.approx(special["FalsePos"], abs=1e-9)
    assert 100 * errors.all_missed == pytest.approx(special["FalseNeg"], abs=1e-9)
    assert min(errors.counts.values()) > 0
