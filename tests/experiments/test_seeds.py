"""Spread over seeds and paired differences, by hand and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from zip_keras.experiments.seeds import paired_difference, spread


def test_three_seeds_by_hand():
    of = spread([0.1, 0.2, 0.3])
    assert (of.n, of.mean, of.deviation) == (3, pytest.approx(0.2), pytest.approx(0.1))
    assert str(of) == "0.200 ± 0.100"
    assert str(spread([0.25])) == "0.250"


def test_a_difference_is_paired_by_seed_whatever_the_order():
    a, b = {2: 0.50, 0: 0.30, 1: 0.40, 9: 0.0}, {0: 0.28, 1: 0.37, 2: 0.46, 7: 1.0}
    difference = paired_difference(a, b)  # .02 .03 .04: mean .03, deviation .01
    assert (difference.n, difference.mean) == (3, pytest.approx(0.03))
    assert difference.error == pytest.approx(0.01 / 3**0.5)
    assert difference.low == pytest.approx(0.03 - 4.303 * 0.01 / 3**0.5, rel=1e-3)
    assert difference.verdict == "larger than the noise"
    assert paired_difference(b, a).mean == pytest.approx(-0.03)


def test_a_large_but_shaky_difference_is_within_the_noise():
    assert paired_difference({0: 0.1, 1: 0.5}, {0: 0.0, 1: 0.0}).verdict == "within the noise"


def test_one_seed_says_nothing_about_noise():
    difference = paired_difference({0: 0.5}, {0: 0.2})
    assert (difference.n, difference.error, difference.low) == (1, None, None)
    assert difference.verdict.startswith("one seed")
    assert paired_difference({0: 0.5}, {1: 0.2}) is None


def test_intervals_agree_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 0.1, 7), rng.normal(0.45, 0.1, 7)
    ours = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
