"""Summaries of mu by hand, and against NumPy's own correlation."""

import numpy as np
import pytest

from zip_keras.analysis.attention.statistics import LevelAttention, gather_decisions, spread


def attention(mu):
    maps = np.ones((2, 3, len(mu)), np.float32)
    return LevelAttention(maps, np.array(mu, np.float32), maps * np.array(mu, np.float32))


def test_maps_are_ranked_within_their_stream():
    level = attention([0.5, 2.0, 2.0, -1.0, 3.0, 0.1, 1.0, 0.2])
    assert level.ranked("F").tolist() == [1, 2, 0, 3]
    assert level.ranked("H").tolist() == [4, 6, 7, 5]
    assert list(level.channels("H")) == [4, 5, 6, 7]


def test_two_images_that_differ_in_one_map():
    """Maps of mean 1 and 3; the first is 0 and 2 on the images, so deviates by 1, the second not at all."""
    result = spread(np.array([[0.0, 3.0], [2.0, 3.0]]))
    assert (result.mean, result.lowest, result.highest) == (2.0, 0.0, 3.0)
    assert result.between_maps == pytest.approx(1.0)
    assert result.between_images == pytest.approx(np.sqrt(0.5))
    assert result.share_between_images == pytest.approx(0.5 / 1.5)
    assert result.correlation == pytest.approx(1.0)  # both images order the two maps alike


def test_opposite_images_correlate_by_minus_one():
    result = spread(np.array([[1.0, 3.0], [3.0, 1.0]]))
    assert result.correlation == pytest.approx(-1.0)
    assert result.share_between_images == pytest.approx(1.0)  # the maps' means are equal


def test_correlation_is_numpys_mean_over_pairs():
    mu = np.random.default_rng(0).normal(size=(7, 30)) + np.linspace(0, 2, 30)
    table = np.corrcoef(mu)
    result = spread(mu)
    assert result.correlation == pytest.approx(table[np.triu_indices(7, 1)].mean())
    assert result.between_maps**2 + result.between_images**2 == pytest.approx(mu.var())
    assert result.between_images == pytest.approx(np.sqrt((mu.std(axis=0) ** 2).mean()))


def test_what_cannot_be_said_is_nan():
    one = spread(np.array([[1.0, 2.0]]))
    assert (one.between_images, one.share_between_images) == (0.0, 0.0)
    assert np.isnan(one.correlation)
    equal = spread(np.full((3, 5), 0.1, np.float32))
    assert np.isnan([equal.share_between_images, equal.correlation]).all()


def test_vectors_come_together_by_level_and_stream():
    images = [(i, {(1, "F"): np.full(2, i), (1, "H"): np.full(3, -i)}) for i in (7, 9)]
    decisions = gather_decisions(images)
    assert decisions.image_ids == (7, 9)
    arrays = decisions.arrays()
    assert arrays["image_ids"].tolist() == ["7", "9"]
    assert arrays["level_1_F"].tolist() == [[7, 7], [9, 9]]
    assert arrays["level_1_H"].shape == (2, 3)
