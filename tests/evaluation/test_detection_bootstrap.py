"""Bootstrap of average precision: a draw is the data set that was drawn."""

import numpy as np
import pytest
from scenes import ground_truth, proposals, random_detections

from zip_keras.evaluation.average_precision import class_numbers, mean_of_defined
from zip_keras.evaluation.detection_bootstrap import (
    METRICS,
    _average_precision,
    average_precision_interval,
    compare_average_precision,
)
from zip_keras.evaluation.detection_matching import match_detections
from zip_keras.predictions.container import Predictions

A, B, NOWHERE = [0.0, 0.0, 50.0, 50.0], [200.0, 200.0, 50.0, 50.0], [500.0, 500.0, 50.0, 50.0]


def matches_of(truth, found, metric="AP50"):
    return [of_class.at(METRICS[metric]) for of_class in match_detections(truth, found)]


@pytest.mark.parametrize("metric", ["AP50", "AP"])
def test_a_draw_equals_a_data_set_with_these_images(metric):
    truth, found = random_detections(5, images=12, tied=False)
    times = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12))
    copies = [(image, copy) for image in range(12) for copy in range(times[image])]
    rows = [np.arange(truth.starts[image], truth.starts[image + 1]) for image, _ in copies]
    flat = np.concatenate(rows)
    drawn = ground_truth(
        {place: truth.xywh[of_image].tolist() for place, of_image in enumerate(rows)},
        crowd=np.flatnonzero(truth.crowd[flat]),
        difficult=np.flatnonzero(truth.difficult[flat]),
        areas=truth.areas[flat],
        classes=truth.classes[flat],
        names=("cat", "dog", "cow"),
    )
    again = Predictions()
    for place, (image, _) in enumerate(copies):
        part = found[truth.image_ids[image]]
        numbers = [{7: 1, 5: 2, 3: 3}.get(category, 9) for category in part.categories.tolist()]
        again.add_xywh(place, part.xywh, part.scores, numbers)
    by_class = class_numbers(match_detections(drawn, again))
    expected = mean_of_defined(np.array([row[metric] for row in by_class.values()]))
    assert _average_precision(matches_of(truth, found, metric), times) == pytest.approx(expected, abs=1e-12)


def test_an_interval_narrows_with_more_images():
    def interval(images):
        truth = ground_truth({i: [A] for i in range(images)})
        found = proposals({i: [(A if i % 2 else NOWHERE, 0.5 + i / 10_000)] for i in range(images)})
        return average_precision_interval(matches_of(truth, found), draws=200)

    few, many = interval(20), interval(200)
    assert few.low < few.value < few.high
    assert many.high - many.low < few.high - few.low


def test_two_sets_on_the_same_images():
    truth = ground_truth({i: [A] for i in range(40)})
    good = matches_of(truth, proposals({i: [(A, 0.9)] for i in range(40)}))
    half = matches_of(truth, proposals({i: [(A if i % 2 else B, 0.9)] for i in range(40)}))
    same = compare_average_precision(good, good, draws=50)
    assert (same.difference.value, same.difference.low, same.difference.high, same.p) == (0, 0, 0, 1)
    better, worse = compare_average_precision(good, half, draws=200), compare_average_precision(half, good, draws=200)
    assert better.difference.low > 0
    assert better.p < 0.02
    assert worse.difference.value == -better.difference.value


def test_no_detection_at_all():
    truth = ground_truth({1: [A], 2: [B]})
    nothing = matches_of(truth, Predictions())
    assert average_precision_interval(nothing, draws=10).value == 0.0
    some = matches_of(truth, proposals({1: [(A, 0.9)], 2: [(B, 0.9)]}))
    assert compare_average_precision(some, nothing, draws=20).difference.value == pytest.approx(1.0)
