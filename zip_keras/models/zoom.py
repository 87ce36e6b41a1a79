"""Zoom network: backbone (zoom-out), mirrored stream (zoom-in) and merge. Paper section 3."""

import functools
from dataclasses import dataclass
from typing import Any

import keras

from zip_keras.backbones import Preprocessing, get_backbone
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError
from zip_keras.layers.attention import SqueezeExcitation, merge_level
from zip_keras.layers.convolution import batch_normalisation, trained_batch_norm
from zip_keras.layers.inception import Inception
from zip_keras.layers.padding import PadToMultiple, ValidCells
from zip_keras.layers.upsampling import upsampling
from zip_keras.levels import STRIDES
from zip_keras.pixels import PADDING

# The released code mirrors two blocks per level and changes the level with a plain 1x1 convolution.
FULL_MIRROR = (("5b", "5a"), ("4d", "4c", "4b", "4a"), ("3b", "3a"))
RELEASED_MIRROR = (("5b", "5a"), ("4d", "4c"), ())
# All blocks of a level have the widths of its first block.
SAME_WIDTHS = {name: names[0] for names in FULL_MIRROR for name in names}


@dataclass(frozen=True)
class ZoomMaps:
    """A built zoom network: symbolic maps, fine to coarse, and the layers by name.

    Attributes:
        zoom_out: F1, F2, F3.
        zoom_in: H1, H2, as far as they are used: only H2 if level 1 has no anchors, empty if level 2 has none either or
            there is no zoom-in stream.
        merged: inputs of the heads for the levels with anchors: Y1, Y2, F3 (with `se` Y3 instead of F3; F1, F2, F3
            without a zoom-in stream).
        backbone_layers, mirror_layers: layers by block name ("4d" in one is the mirror of "4d" in the other).
    """

    zoom_out: tuple[Any, ...]
    zoom_in: tuple[Any, ...]
    merged: tuple[Any, ...]
    backbone_layers: dict[str, keras.layers.Layer]
    mirror_layers: dict[str, keras.layers.Layer]


def build_zoom(image, config: ModelConfig) -> ZoomMaps:
    """Build the network on symbolic images `[batch, H, W, 3]`, RGB 0..255, of any size.

    Pixels of `zip_keras.pixels.PADDING` at the bottom and right are not part of the image: the convolutions see them as
    the backbone's mean colour, and map attention ignores them.
    """
    backbone = get_backbone(config.backbone)
    if config.deepen and not backbone.deepens:
        raise UserError(
            f"model.deepen repeats inception blocks, and backbone {config.backbone!r} has none; set it to 0"
        )
    padded = PadToMultiple(32, PADDING, dtype="float32", name="pad")(image)
    x = Preprocessing(backbone.mean, backbone.scale, backbone.bgr, name="preprocessing")(padded)
    built = backbone.build(x, config)
    levels = config.anchors.levels
    if config.zoom_in == "none" or levels == (3,):
        return ZoomMaps(built.maps, (), tuple(built.maps[level - 1] for level in levels), built.layers, {})
    if config.attention_sources == 4 and built.neighbours is None:
        raise UserError(
            f"model.attention_sources 4: backbone {config.backbone!r} names no maps beside F1 and F2; use 2"
        )
    f3 = built.maps[2]
    zoom_in, mirror_layers = _zoom_in(f3, config, finest=min(levels))
    options: dict[str, Any] = {
        "merge": config.merge,
        "hidden_width": config.attention_width,
        "activation": config.attention_activation,
        "normalisation": config.attention_normalisation,
        "output": config.attention_output,
    }

    @functools.cache
    def valid(level):
        return ValidCells(STRIDES[level - 1], name=f"valid_{level}")(padded)

    def merge(level):
        if level == 3:
            return SqueezeExcitation(name="merge_3")(f3, valid=valid(3)) if config.merge == "se" else f3
        zoomed, *more = zoom_in[level]
        zoom_out = built.maps[level - 1]
        if config.merge_normalisation:
            mode = trained_batch_norm(config.batch_norm)
            zoom_out = batch_normalisation(mode, f"merge_{level}_normalisation")(zoom_out)
        if built.neighbours is not None and config.attention_sources == 4:
            more.insert(0, built.neighbours[level - 1])
        return merge_level(level, zoom_out, zoomed, f3, more=more, valid=valid, **options)

    merged = tuple(merge(level) for level in levels)
    used = tuple(zoom_in[level][0] for level in sorted(zoom_in))
    return ZoomMaps(built.maps, used, merged, built.layers, mirror_layers)


def _zoom_in(f3, config: ModelConfig, finest: int):
    """The zoom-in stream: 5b' 5a' -> H2 at stride 16 -> 4d' .. 4a' -> stride 8 -> 3b' 3a' = H1 (there is no H3).

    Args:
        f3: the coarsest map.
        finest: 1, or 2 to stop at H2.

    Returns:
        by level H and, with four map sources, the map next to it (3b' and 4d'); the layers by block name.
    """
    rows = get_backbone(config.backbone).mirror
    width = config.width * config.zoom_in_width
    layers: dict[str, keras.layers.Layer] = {}
    options = {
        "batch_norm": trained_batch_norm(config.batch_norm),
        "pool_border": config.pool_border,
        "upsampling_kind": config.upsampling,
    }

    def block(x, name, row):
        layers[name] = Inception(row, name=f"zoom_in_{name}", **options)
        return layers[name](x)

    def rise(x, reduction, target):
        """Go one level finer, to the width of the following blocks: up-sampling inception or plain 1x1 convolution."""
        row = rows[reduction].scaled(width)
        channels = rows[target].scaled(width).output_width(0)
        if config.zoom_in == "full":
            return block(x, reduction, row.upsampling_mirror(channels))
        x = upsampling(config.upsampling, x.shape[-1], name=f"zoom_in_{reduction}_double_size")(x)
        layers[reduction] = keras.layers.Conv2D(channels, 1, name=f"zoom_in_{reduction}")
        return layers[reduction](x)

    def stage(x, names, row):
        """`x` and the output of each block after it."""
        maps = [x]
        for name in names:
            maps.append(block(maps[-1], name, rows[row].scaled(width)))
        return maps

    coarse, middle, fine = FULL_MIRROR if config.zoom_in == "full" else RELEASED_MIRROR
    taken = config.attention_sources // 2  # maps of each stream and level: H, and the map next to it
    x = stage(f3, coarse, "5b")[-1]
    stride_16 = stage(rise(x, "4e", "4d"), middle if finest == 1 else middle[: taken - 1], "4d")
    sources = {2: stride_16[:taken]}  # H2 is the first map of its size, H1 the last
    if finest == 1:
        stride_8 = stage(rise(stride_16[-1], "3c", "3b"), fine, "3b")
        sources[1] = stride_8[::-1][:taken]
    return sources, layers


@dataclass(frozen=True)
class MirrorReport:
    """Result of `copy_mirror_weights`.

    Attributes:
        copied: the copied convolutions, "block/branch" -> block of the backbone.
        kept: "block/branch: reason" for those that were not copied.
    """

    copied: dict[str, str]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        branches: dict[str, list[str]] = {}
        for name, source in self.copied.items():
            block, _, branch = name.partition("/")
            branches.setdefault(f"{block} from {source}", []).append(branch)
        lines = [f"mirror initialisation: {len(self.copied)} convolutions copied, {len(self.kept)} not"]
        lines += [f"  copied: {blocks}: {', '.join(of_block)}" for blocks, of_block in branches.items()]
        return "\n".join(lines + [f"  not copied: {line}" for line in self.kept])


def copy_mirror_weights(backbone_layers, mirror_layers, source: str = "same_block") -> MirrorReport:
    """Copy the backbone's weights (convolution and batch norm) to mirrored blocks where the kernel shapes agree.

    The released code skips other layers silently; the report names every one.

    Args:
        backbone_layers, mirror_layers: layers by block name.
        source: which block is copied, see `ModelConfig.mirror_source`.
    """
    copied, kept = {}, []
    for name, mirrored in mirror_layers.items():
        block = SAME_WIDTHS.get(name, name) if source == "same_widths" else name
        original = backbone_layers.get(block)
        if not isinstance(mirrored, Inception) or not isinstance(original, Inception):
            kept.append(f"{name}: not an inception block in both streams")
            continue
        sources = original.convolutions()
        for branch, target in mirrored.convolutions().items():
            if branch not in sources:
                kept.append(f"{name}/{branch}: the backbone's block has no such branch")
            elif sources[branch].convolution.kernel.shape != target.convolution.kernel.shape:
                shapes = sources[branch].convolution.kernel.shape, target.convolution.kernel.shape
                kept.append(f"{name}/{branch}: kernel {tuple(shapes[0])} against {tuple(shapes[1])}")
            else:
                target.set_weights(sources[branch].get_weights())
                copied[f"{name}/{branch}"] = block
    return MirrorReport(copied, tuple(kept))
