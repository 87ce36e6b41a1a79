"""Plot an ablation table: one line per row, with a dot for each seed and a bar at the mean."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ablation_figure(title: str, values: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """Plot one panel per metric with one line per row, the table's first row on top.

    Args:
        title: title of the figure.
        values: metric -> row -> one number per seed; rows without numbers keep an empty line.

    Returns:
        A Matplotlib figure that is not registered with pyplot.
    """
    from matplotlib.figure import Figure

    rows = list(next(iter(values.values())))
    figure = Figure(figsize=(1.5 + 3.2 * len(values), 1.4 + 0.36 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for panel, (measure, by_row) in zip(panels, values.items(), strict=True):
        for height, row in enumerate(rows):
            numbers = by_row[row]
            if numbers:
                panel.plot([fmean(numbers)] * 2, [height - 0.32, height + 0.32], color="black", linewidth=2)
            panel.plot(numbers, [height] * len(numbers), "o", color="C0", alpha=0.7, markersize=5)
        panel.set(xlabel=measure)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    seeds = max((len(numbers) for by_row in values.values() for numbers in by_row.values()), default=0)
    figure.suptitle(f"{title}: {'a dot for each seed, ' if seeds > 1 else 'one seed, '}bar = mean", fontsize=10)
    return figure
