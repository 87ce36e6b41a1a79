"""Curves of precision and the bars of the kinds of error."""

import numpy as np
import pytest

from zip_keras.evaluation.error_kinds import KINDS, ErrorKinds

pytest.importorskip("matplotlib")
from zip_keras.plots.precision import compared_precision_figure, precision_figure


def curve(height):
    return np.full((10, 101), height)


def test_the_curves_of_classes_and_their_mean():
    figure = precision_figure({"cat": curve(0.8), "dog": curve(0.4), "cow": curve(np.nan)})
    classes, mean = figure.axes
    assert [line.get_label() for line in classes.lines] == ["cat 0.80", "dog 0.40"]  # no object, no curve
    assert [float(line.get_ydata()[0]) for line in mean.lines] == pytest.approx([0.6] * 5)


def test_of_many_classes_the_best_and_the_worst():
    figure = precision_figure({str(number): curve(number / 100) for number in range(80)})
    labels = [line.get_label().split()[0] for line in figure.axes[0].lines]
    assert labels == [str(number) for number in (*range(79, 69, -1), *range(9, -1, -1))]
    assert float(figure.axes[1].lines[0].get_ydata()[0]) == pytest.approx(0.395)  # of all


def test_a_bar_for_each_kind_of_error():
    cost = {kind: number / 10 for number, kind in enumerate(KINDS)}
    errors = ErrorKinds(0.3, cost, dict.fromkeys(KINDS, 7), 0.1, 0.2)
    panel = precision_figure({"cat": curve(0.3)}, errors).axes[2]
    assert [bar.get_width() for bar in panel.patches] == list(cost.values())
    assert [text.get_text() for text in panel.texts][1] == "0.100 (7)"


def test_methods_in_one_picture():
    figure = compared_precision_figure({"one": curve(0.25), "two": curve(0.5)})
    assert [line.get_label() for line in figure.axes[1].lines] == ["one 0.250", "two 0.500"]
