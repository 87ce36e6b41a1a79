"""An ablation table as a picture: a dot for each seed, a bar at the mean, a line for each row."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ablation_figure(title: str, values: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """One panel for each measure, one line for each row, the table's first row on top.

    Args:
        title: of the picture.
        values: by measure and row, the numbers of its seeds; rows without numbers keep an empty line.

    Returns:
        a matplotlib figure of its own, not pyplot's.
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
