"""Plot recall curves of several methods (paper Figure 7)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zip_keras.evaluation.curves import (
    FIGURE_7_BUDGETS,
    FIGURE_7_THRESHOLDS,
    FINE_THRESHOLDS,
    NUMBERS,
    Curves,
)
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def recall_figure(
    curves: Sequence[Curves],
    budgets: Sequence[int] = FIGURE_7_BUDGETS,
    thresholds: Sequence[float] = FIGURE_7_THRESHOLDS,
) -> "Figure":
    """Plot recall against IoU for each budget, and recall (per IoU threshold) and AR against the number of proposals.

    Args:
        curves: the curves of each method.
        budgets: numbers of proposals per image.
        thresholds: IoU thresholds.

    Returns:
        A Matplotlib figure that is not registered with pyplot; `figure.savefig(path)` writes .png, .svg or .pdf.
    """
    canvas = optional_import("matplotlib.backends.backend_agg", "a picture of recall curves", "train").FigureCanvasAgg
    figure_type = optional_import("matplotlib.figure", "a picture of recall curves", "train").Figure
    panels = len(budgets) + len(thresholds) + 1
    columns = 3
    rows = -(-panels // columns)
    figure = figure_type(figsize=(4.6 * columns, 3.8 * rows + 0.5), layout="constrained")
    canvas(figure)
    axes = iter(figure.subplots(rows, columns, squeeze=False).flat)
    for budget in budgets:
        panel = next(axes)
        for method in curves:
            panel.plot(FINE_THRESHOLDS, method.against_iou(budget))
        panel.set(xlabel="IoU", title=f"{budget} proposals an image", xlim=(0.5, 1))
    for threshold in thresholds:
        panel = next(axes)
        for method in curves:
            panel.plot(NUMBERS, method.against_number(threshold))
        panel.set(xlabel="proposals an image", title=f"IoU {threshold:g}", xscale="log", xlim=(1, NUMBERS[-1]))
    panel = next(axes)
    lines = [panel.plot(NUMBERS, method.average_against_number())[0] for method in curves]
    panel.set(xlabel="proposals an image", title="average recall, IoU .5:.95", xscale="log", xlim=(1, NUMBERS[-1]))
    for unused in axes:
        unused.remove()
    for panel in figure.axes:
        panel.set(ylabel="recall", ylim=(0, 1))
        panel.grid(alpha=0.3)
    figure.legend(lines, [method.name for method in curves], loc="outside upper center", ncols=min(4, len(curves)))
    return figure
