"""Plot map attention: the maps of an image before and after the decision (paper Figure 4), and mu over many images.

Needs Matplotlib (the `train` extra).
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from zip_keras.analysis.attention.statistics import STREAMS, LevelAttention, MapDecisions, spread
from zip_keras.predictions.container import ImageId
from zip_keras.utils.optional import optional_import

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STREAM_COLOURS = {"F": "tab:blue", "H": "tab:orange"}
STREAM_NAMES = {"F": "F, zoom-out", "H": "H, zoom-in"}
_NEEDED_BY = "a picture of map attention"
_STRIDES = {1: 8, 2: 16}
_GAP, _BLOCK_GAP, _LABEL = 0.05, 0.3, 0.2  # in tile widths: between tiles, between blocks, space for a label
_MOST_ROWS = 400  # maximum number of images in a heat map
_NAMED_ROWS = 24  # maximum number of images with id labels in a heat map


def attention_figure(image: np.ndarray, levels: dict[int, LevelAttention], title: str, maps: int = 4) -> "Figure":
    """Plot the maps of F and H with the largest and smallest mu, before and after the decision.

    Each map has its own colour scale, shared before and after. Brightness is not comparable between maps.

    Args:
        image: uint8 `[H, W, 3]` RGB.
        levels: level -> its decision on the image.
        title: title of the figure, usually the image id.
        maps: number of strongest and of weakest maps; fewer if a stream has fewer.

    Returns:
        A Matplotlib figure that is not registered with pyplot.
    """
    height, width = image.shape[:2]
    tile = min(max(height / width, 0.4), 1.6)  # height of a tile whose width is 1
    rows = len(levels) * len(STREAMS) * (2 * (tile + _GAP) + _LABEL + 0.1) + 0.35 * len(levels)
    columns = 2 * maps * (1 + _GAP) + _BLOCK_GAP + 0.9
    inches = 11.5 / columns
    figure = _figure((16, min(max(rows * inches + 0.6, 5), 24)))
    sides: Any = figure.subfigures(1, 2, width_ratios=(4.3, 11.7))
    left, right = sides
    _overview(left, image, levels, title)
    panels = right.subplots(len(levels), 1, squeeze=False)[:, 0]
    for panel, (level, attention) in zip(panels, levels.items(), strict=True):
        _tiles(panel, attention, maps, tile)
        panel.set_title(f"Level {level} (stride {_STRIDES[level]})", fontsize=11, fontweight="bold", loc="left")
    note = "brightness: one scale for a map before and after, another for every map"
    panels[0].set_title(note, fontsize=9, color="0.35", loc="right")
    return figure


def spread_figure(decisions: MapDecisions) -> "Figure":
    """Plot how mu differs between images, with one row per level.

    The left panel shows the mean of every map over the images with a band of one standard deviation, sorted by the
    mean. The middle (F) and right (H) panels show each image's difference from that mean: maps in the same order,
    images in the given order.
    """
    levels = sorted({level for level, _ in decisions.mu})
    figure = _figure((15, 4.1 * len(levels) + 0.4))
    axes = figure.subplots(len(levels), 3, squeeze=False, width_ratios=(1.15, 1, 1))
    for row, level in zip(axes, levels, strict=True):
        limit = max(
            float(np.percentile(np.abs(mu - mu.mean(axis=0)), 99.5))
            for (of_level, _), mu in decisions.mu.items()
            if of_level == level
        )
        row[0].axhline(1, color="0.6", linewidth=0.8, linestyle=":")
        for stream, panel in zip(STREAMS, row[1:], strict=True):
            mu = decisions.mu[level, stream]
            mu = mu[:, np.argsort(-mu.mean(axis=0), kind="stable")]
            _band(row[0], mu, stream)
            shown = panel.imshow(
                (mu - mu.mean(axis=0))[:_MOST_ROWS],
                aspect="auto",
                interpolation="nearest",
                cmap="RdBu_r",
                vmin=-(limit or 1.0),
                vmax=limit or 1.0,
            )
            share = spread(mu).share_between_images
            panel.set(
                title=f"{STREAM_NAMES[stream]}: {100 * share:.1f} % of the variance is between images",
                xlabel="map, by its mean μ",
                ylabel="image" if len(mu) <= _MOST_ROWS else f"image, the first {_MOST_ROWS}",
            )
            panel.title.set_fontsize(10)
            _name_images(panel, decisions.image_ids)
        figure.colorbar(shown, ax=list(row[1:]), label="μ minus the map's mean", pad=0.01)
        row[0].set(title=f"Level {level}: mean μ ± one standard deviation over {len(decisions.image_ids)} images")
        row[0].set(xlabel="map, by its mean μ (share of the stream's maps)", ylabel="μ")
        row[0].title.set_fontsize(10)
        row[0].legend()
        row[0].grid(alpha=0.3)
    return figure


def _name_images(panel: "Axes", image_ids: tuple[ImageId, ...]) -> None:
    """Label the image axis of a heat map with ids if there is room, otherwise with indices."""
    whole_numbers = optional_import("matplotlib.ticker", _NEEDED_BY, "train").MaxNLocator
    if len(image_ids) <= _NAMED_ROWS:
        names = [name if len(name) <= 16 else f"…{name[-15:]}" for name in map(str, image_ids)]
        panel.set_yticks(range(len(names)), names, fontsize=8)
    else:
        panel.yaxis.set_major_locator(whole_numbers(integer=True))
    panel.xaxis.set_major_locator(whole_numbers(integer=True))


def _overview(figure: Any, image: np.ndarray, levels: dict[int, LevelAttention], title: str) -> None:
    """Plot the image, and below it the sorted mu of all maps with one panel per level."""
    height = 4 * image.shape[0] / image.shape[1]
    axes = figure.subplots(1 + len(levels), 1, height_ratios=(min(max(height, 1.5), 6), *[2.2] * len(levels)))
    axes[0].imshow(image)
    axes[0].set_axis_off()
    axes[0].set_title(f"Image {title}", fontsize=11, fontweight="bold")
    for panel, (level, attention) in zip(axes[1:], levels.items(), strict=True):
        for stream in STREAMS:
            mu = attention.mu[attention.ranked(stream)]
            label = f"{stream}: mean {mu.mean():.2f}, {mu.min():.2f} to {mu.max():.2f}"
            panel.plot(_shares(len(mu)), mu, color=STREAM_COLOURS[stream], label=label)
        panel.axhline(1, color="0.6", linewidth=0.8, linestyle=":")
        panel.set_title(f"μ of all maps, level {level}, sorted", fontsize=10)
        panel.set(xlim=(0, 1), xlabel="share of the stream's maps", ylabel="μ")
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)


def _tiles(panel: "Axes", attention: LevelAttention, maps: int, tile: float) -> None:
    """Plot all selected maps of a level in one panel; the unit of length is the width of a map."""
    y = _LABEL
    right = bottom = 0.0
    for stream in STREAMS:
        ranked = attention.ranked(stream)
        count = min(maps, len(ranked))
        # The weakest maps are last, so that mu decreases from left to right.
        blocks = {"strongest": ranked[:count], "weakest": ranked[len(ranked) - count :]}
        x = 0.0
        for name, channels in blocks.items():
            if stream == STREAMS[0]:
                middle = x + count * (1 + _GAP) / 2
                panel.text(middle, y - 1.3 * _LABEL, f"{name} maps", ha="center", va="bottom", fontsize=10)
            for channel in channels:
                before, after = attention.before[..., channel], attention.after[..., channel]
                low = min(float(before.min()), float(after.min()), 0.0)
                high = max(float(before.max()), float(after.max()), low + 1e-6)
                for place, values in enumerate((before, after)):
                    top = y + place * (tile + _GAP)
                    extent = (x, x + 1, top + tile, top)
                    panel.imshow(values, extent=extent, vmin=low, vmax=high, cmap="magma", interpolation="nearest")
                number = channel - attention.channels(stream)[0]
                text = f"{stream}{number}: μ {attention.mu[channel]:.2f}"
                panel.text(x + 0.5, y - 0.02, text, ha="center", va="bottom", fontsize=8)
                right, bottom = max(right, x + 1), max(bottom, y + 2 * tile + _GAP)
                x += 1 + _GAP
            x += _BLOCK_GAP
        for place, when in enumerate(("before", "after")):
            middle = y + place * (tile + _GAP) + tile / 2
            colour = STREAM_COLOURS[stream]
            panel.text(-0.08, middle, f"{stream} {when}", ha="right", va="center", fontsize=10, color=colour)
        y += 2 * (tile + _GAP) + _LABEL + 0.1
    panel.set(xlim=(-0.9, right), ylim=(bottom, -0.25))
    panel.set_aspect("equal")
    panel.set_axis_off()


def _band(panel: "Axes", mu: np.ndarray, stream: str) -> None:
    """Plot means and standard deviations of sorted maps; `mu` is `[I, C]`."""
    place, mean, deviation = _shares(mu.shape[1]), mu.mean(axis=0), mu.std(axis=0)
    colour = STREAM_COLOURS[stream]
    panel.fill_between(place, mean - deviation, mean + deviation, color=colour, alpha=0.3, linewidth=0)
    panel.plot(place, mean, color=colour, linewidth=1.2, label=STREAM_NAMES[stream])


def _shares(count: int) -> np.ndarray:
    """Positions of `count` sorted maps between 0 and 1, so that streams of different width are comparable."""
    return (np.arange(count) + 0.5) / count


def _figure(size: tuple[float, float]) -> "Figure":
    canvas = optional_import("matplotlib.backends.backend_agg", _NEEDED_BY, "train").FigureCanvasAgg
    figure = optional_import("matplotlib.figure", _NEEDED_BY, "train").Figure(figsize=size, layout="constrained")
    canvas(figure)
    return figure
