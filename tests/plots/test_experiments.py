"""The picture of an ablation table."""

import pytest

from zip_keras.plots.experiments import ablation_figure


def test_a_dot_for_each_seed_and_a_bar_at_the_mean():
    pytest.importorskip("matplotlib")
    figure = ablation_figure("merges", {"AR@10": {"a": [0.1, 0.3], "b": []}, "AR@100": {"a": [0.5, 0.6], "b": [0.7]}})
    left, right = figure.axes
    bar, dots, nothing = left.lines
    assert list(bar.get_xdata()) == [pytest.approx(0.2)] * 2
    assert (list(dots.get_xdata()), list(dots.get_ydata())) == ([0.1, 0.3], [0, 0])
    assert not list(nothing.get_xdata())
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first row on top
    assert (left.get_xlabel(), right.get_xlabel()) == ("AR@10", "AR@100")
