"""Plot boxes of a data set and anchors, log width against log height (paper Figure 5)."""

from typing import Any

import numpy as np

from zip_keras.analysis.anchor_fit.fit import AnchorFit
from zip_keras.levels import STRIDES

COLOURS = ("tab:blue", "tab:orange", "tab:green")
MOST_POINTS = 20_000  # limits the file size


def plot_anchor_fit(fit: AnchorFit, path: str, threshold: float = 0.5) -> None:
    """Plot and save: boxes are coloured by the level with the best-fitting anchors; uncovered boxes are grey.

    Args:
        fit: from `fit_anchors`.
        path: .png, .svg or .pdf.
        threshold: minimum IoU with a centred anchor at which a box counts as covered.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    chosen = np.arange(len(fit.sizes))
    if len(chosen) > MOST_POINTS:
        chosen = np.random.default_rng(0).choice(chosen, MOST_POINTS, replace=False)
    height, width = fit.sizes[chosen].T
    iou = fit.shape_iou[chosen]
    best, covered = iou.argmax(1), iou.max(1, initial=0) >= threshold
    point: dict[str, Any] = {"s": 6, "alpha": 0.35, "linewidths": 0}
    axes.scatter(width[~covered], height[~covered], color="0.6", label=f"no anchor with IoU {threshold:g}", **point)
    for level, (stride, scales, colour) in enumerate(zip(STRIDES, fit.anchors.scales, COLOURS, strict=True)):
        here = covered & (best == level)
        axes.scatter(width[here], height[here], color=colour, label=f"stride {stride}", **point)
        shapes = np.array([(s / r**0.5, s * r**0.5) for s in scales for r in fit.anchors.ratios]).reshape(-1, 2)
        axes.scatter(shapes[:, 0], shapes[:, 1], marker="P", s=90, color=colour, edgecolors="black", zorder=3)
    axes.set(xscale="log", yscale="log", xlabel="width (pixels)", ylabel="height (pixels)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    any_level = fit.covered(threshold)[-1]
    share = f"{100 * any_level:.1f} % covered by an anchor (crosses) at IoU {threshold:g}"
    axes.set_title(f"{len(fit.sizes)} boxes, {share}" if len(fit.sizes) else "no box; the crosses are the anchors")
    axes.set_aspect("equal")
    axes.grid(alpha=0.3)
    legend = axes.legend(loc="lower right", markerscale=3)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    figure.savefig(path, dpi=120)
