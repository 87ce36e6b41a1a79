"""Bounds and p against what statistics says they must be."""

import numpy as np
import pytest

from zip_keras.evaluation.bootstrap import average_recall_interval, compare_recall


def test_bounds_of_a_share_are_those_of_the_binomial():
    """400 images of one object, half found: the standard error is sqrt(.25 / 400) = .025."""
    found, objects = np.tile([0.0, 1.0], 200), np.ones(400, int)
    interval = average_recall_interval(found, objects)
    assert interval.value == 0.5
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert interval.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_images_with_many_objects_weigh_more():
    assert average_recall_interval(np.array([9.0, 0.0]), np.array([9, 1])).value == 0.9


def test_a_set_does_not_differ_from_itself():
    found, objects = np.random.default_rng(0).random(50), np.ones(50, int)
    comparison = compare_recall(found, found, objects)
    assert (comparison.difference.low, comparison.difference.value, comparison.difference.high) == (0, 0, 0)
    assert comparison.p == 1.0


def test_a_constant_gain_is_sure_although_images_differ_much():
    """Unpaired, a gain of .05 would drown in the spread between images."""
    rng = np.random.default_rng(0)
    b = rng.uniform(0, 0.9, 100)
    comparison = compare_recall(b + 0.05, b, np.ones(100, int))
    assert comparison.difference.value == pytest.approx(0.05)
    assert comparison.difference.low > 0.04
    assert comparison.p < 0.001


def test_p_of_few_images_is_the_share_of_swaps():
    """Three images that all gain 1: of the eight ways to swap, two are as extreme."""
    comparison = compare_recall(np.ones(3), np.zeros(3), np.ones(3, int), draws=20_000)
    assert comparison.p == pytest.approx(2 / 8, abs=0.01)


def test_p_is_uniform_when_nothing_differs():
    rng = np.random.default_rng(0)
    values = [compare_recall(*rng.random((2, 40)), np.ones(40, int), draws=200).p for _ in range(200)]
    assert np.mean(np.array(values) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_swapping_changes_the_sign_alone():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 30))
    forward, backward = compare_recall(a, b, np.ones(30, int)), compare_recall(b, a, np.ones(30, int))
    assert forward.difference.value == -backward.difference.value
    assert forward.difference.low == pytest.approx(-backward.difference.high)
    assert forward.p == backward.p
