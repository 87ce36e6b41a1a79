"""Plot precision-recall curves and the cost of each kind of error."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zip_keras.evaluation.error_kinds import KINDS, ErrorKinds
from zip_keras.evaluation.protocols import IOU_THRESHOLDS, RECALL_LEVELS
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WHAT = "a picture of precision and recall"
_SHOWN_CLASSES = 20  # maximum number of distinguishable lines; the mean is over all classes


def precision_figure(curves: Mapping[str, np.ndarray], errors: ErrorKinds | None = None) -> "Figure":
    """Plot precision against recall per class at IoU .5, their mean at several IoUs, and the cost of errors.

    Args:
        curves: class -> float64 `[T, 101]`, precision at `RECALL_LEVELS` for each of `IOU_THRESHOLDS`; NaN for a class
            without objects. If there are many classes, the best and worst are drawn.
        errors: drawn as bars if given.

    Returns:
        A Matplotlib figure that is not registered with pyplot; `figure.savefig(path)` writes .png, .svg or .pdf.

    Raises:
        UserError: Matplotlib is not installed.
    """
    figure, panels = _panels(2 if errors is None else 3)
    known = {name: curve for name, curve in curves.items() if not np.isnan(curve).any()}
    names = sorted(known, key=lambda name: -known[name][0].mean())
    if len(names) > _SHOWN_CLASSES:
        names = names[: _SHOWN_CLASSES // 2] + names[-_SHOWN_CLASSES // 2 :]
    for number, name in enumerate(names):
        style = "-" if number < 10 else "--"  # Matplotlib has ten colours
        panels[0].plot(RECALL_LEVELS, known[name][0], style, lw=1, label=f"{name} {known[name][0].mean():.2f}")
    panels[0].legend(fontsize=7, ncols=1 + len(names) // 11, loc="best")
    panels[0].set(title="classes, IoU .5 (AP50 in the legend)")
    mean = np.mean(list(known.values()), axis=0)
    for row in range(0, len(IOU_THRESHOLDS), 2):
        panels[1].plot(RECALL_LEVELS, mean[row], label=f"IoU {IOU_THRESHOLDS[row]:.2g}: {mean[row].mean():.3f}")
    panels[1].legend(fontsize=8, loc="best")
    panels[1].set(title="mean over classes (AP in the legend)")
    _as_curves(panels[:2])
    if errors is not None:
        bars = panels[2].barh(KINDS, [errors.cost[kind] for kind in KINDS], color="#4c87c7")
        panels[2].bar_label(bars, [f"{errors.cost[kind]:.3f} ({errors.counts[kind]})" for kind in KINDS], padding=3)
        panels[2].invert_yaxis()
        panels[2].margins(x=0.35)
        panels[2].set(xlabel="AP50 gained without the errors (number of errors)", title="kinds of error")
    return figure


def compared_precision_figure(curves: Mapping[str, np.ndarray]) -> "Figure":
    """Plot precision against recall of several methods at IoU .5 and .75, mean over classes.

    Args:
        curves: method -> float64 `[T, 101]` as in `precision_figure`.

    Raises:
        UserError: Matplotlib is not installed.
    """
    figure, panels = _panels(2)
    for panel, threshold in zip(panels, (0.5, 0.75), strict=True):
        row = int(np.argmin(np.abs(IOU_THRESHOLDS - threshold)))
        for name, curve in curves.items():
            panel.plot(RECALL_LEVELS, curve[row], label=f"{name} {curve[row].mean():.3f}")
        panel.legend(fontsize=8, loc="best")
        panel.set(title=f"IoU {threshold}, mean over classes (AP in the legend)")
    _as_curves(panels)
    return figure


def _panels(count: int) -> tuple["Figure", Sequence]:
    canvas = optional_import("matplotlib.backends.backend_agg", _WHAT, "train").FigureCanvasAgg
    figure = optional_import("matplotlib.figure", _WHAT, "train").Figure(
        figsize=(5.2 * count, 4.4), layout="constrained"
    )
    canvas(figure)
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _as_curves(panels: Sequence) -> None:
    for panel in panels:
        panel.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        panel.grid(alpha=0.3)
