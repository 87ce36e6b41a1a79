"""How well the anchors of each level fit the boxes of a data set. Paper section 4 and Figure 5. Needs only NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zip_keras.config import AnchorConfig, to_dict
from zip_keras.data.records import ImageRecord
from zip_keras.levels import STRIDES, anchor_shapes

THRESHOLDS = (0.5, 0.6)  # anchors are positive from IoU 0.6 on


@dataclass(frozen=True)
class AnchorFit:
    """Best IoU of every box with the anchors of every level.

    Attributes:
        sizes: float32 `[M, 2]`, height and width of the boxes in pixels of the scaled image.
        shape_iou: float32 `[M, 3]`, levels fine to coarse: best IoU with an anchor of the level centred on the box.
        placed_iou: float32 `[M, 3]`: best IoU with an anchor at its position on the level's grid.
        anchors: the anchor config.
        short_side: short side of the scaled images in pixels; None: original size.
        network: description of the anchors' origin.
    """

    sizes: np.ndarray
    shape_iou: np.ndarray
    placed_iou: np.ndarray
    anchors: AnchorConfig
    short_side: float | None
    network: str = "the default config"

    def covered(self, threshold: float, *, placed: bool = False) -> tuple[float, ...]:
        """Fraction of boxes with IoU of at least `threshold`, for each level and for any level; NaN without boxes."""
        iou = self.placed_iou if placed else self.shape_iou
        if not len(iou):
            return (float("nan"),) * (iou.shape[1] + 1)
        hit = iou >= threshold
        return (*hit.mean(0).tolist(), float(hit.any(1).mean()))

    def to_json(self) -> dict[str, object]:
        """The numbers of `text` as json values; fractions are None without boxes."""
        shares = {
            f"{kind}@{threshold}": [
                round(share, 4) if len(self.sizes) else None
                for share in self.covered(threshold, placed=kind == "placed")
            ]
            for kind in ("shape", "placed")
            for threshold in THRESHOLDS
        }
        return {
            "boxes": len(self.sizes),
            "short_side": self.short_side,
            "network": self.network,
            "anchors": to_dict(self.anchors),
            "levels_then_any": shares,
        }

    def text(self) -> str:
        """A table for the terminal, or a sentence if there is no box."""
        if not len(self.sizes):
            return "anchor fit: no box to compare with anchors"
        scale = "the images as they are" if self.short_side is None else f"images of short side {self.short_side:g}"
        lines = [f"anchor fit: share of {len(self.sizes)} boxes that an anchor of {self.network} covers, {scale}"]
        heads = [
            f"stride {stride} ({', '.join(f'{s:g}' for s in scales) or 'none'})"
            for stride, scales in zip(STRIDES, self.anchors.scales, strict=True)
        ]
        lines.append(f"  {'IoU':<22}" + "".join(f"{head:>22}" for head in heads) + f"{'any':>9}")
        for kind, title in (("shape", "shape alone"), ("placed", "placed on the grid")):
            for threshold in THRESHOLDS:
                *levels, any_level = self.covered(threshold, placed=kind == "placed")
                row = "".join(f"{100 * share:>20.1f} %" for share in levels)
                lines.append(f"  {f'{threshold:g}, {title}':<22}{row}{100 * any_level:>7.1f} %")
        return "\n".join(lines)


def fit_anchors(
    records: Sequence[ImageRecord],
    anchors: AnchorConfig | None = None,
    short_side: float | None = None,
    long_side: float | None = None,
    network: str = "the default config",
) -> AnchorFit:
    """Measure the fit for all boxes except difficult objects and crowds.

    Args:
        records: records of the data set.
        anchors: anchors of the three levels; None: the default config.
        short_side: scale every image to this short side in pixels, as in training; None: original size.
        long_side: maximum of the longer side in pixels when images are scaled.
        network: description of the anchors' origin.
    """
    anchors = anchors or AnchorConfig()
    sizes, shape_iou, placed_iou = [], [], []
    for record in records:
        scale = 1.0 if short_side is None else short_side / min(record.height, record.width)
        if short_side is not None and long_side is not None:
            scale = min(scale, long_side / max(record.height, record.width))
        boxes = record.boxes[~(record.difficult | record.crowd)] * np.float32(scale)
        size = boxes[:, 2:] - boxes[:, :2]
        image = (round(record.height * scale), round(record.width * scale))
        levels = [(stride, anchor_shapes(s, anchors.ratios)) for stride, s in zip(STRIDES, anchors.scales, strict=True)]
        sizes.append(size)
        shape_iou.append(np.stack([_best(size, np.zeros_like(size), shapes) for _, shapes in levels], 1))
        offsets = [_offset_from_grid(boxes, stride, image) for stride, _ in levels]
        placed = [_best(size, offset, shapes) for offset, (_, shapes) in zip(offsets, levels, strict=True)]
        placed_iou.append(np.stack(placed, 1))
    none = np.zeros((0, len(STRIDES)), np.float32)
    return AnchorFit(
        np.concatenate([none[:, :2], *sizes]),
        np.concatenate([none, *shape_iou]),
        np.concatenate([none, *placed_iou]),
        anchors,
        short_side,
        network,
    )


def _offset_from_grid(boxes: np.ndarray, stride: int, image: tuple[int, int]) -> np.ndarray:
    """Distance in y and x `[M, 2]` from each box centre to the nearest cell centre of the level.

    For a given anchor shape the IoU decreases with the distance in either direction, so the nearest cell is the best.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    padded = np.array([-(-side // STRIDES[-1]) * STRIDES[-1] for side in image])  # the network pads to 32
    cells = np.clip(np.floor(centres / stride), 0, padded // stride - 1)
    return np.abs(centres - (cells + 0.5) * stride).astype(np.float32)


def _best(sizes: np.ndarray, offsets: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Best IoU `[M]` of boxes `sizes` `[M, 2]` and anchors `shapes` `[A, 2]`, given their centre `offsets` `[M, 2]`."""
    box, anchor = sizes[:, None, :], shapes[None, :, :]
    reach = np.minimum((box + anchor) / 2 - offsets[:, None, :], np.minimum(box, anchor))  # overlap along y and x
    shared = np.clip(reach, 0, None).prod(2)
    iou = shared / (box.prod(2) + anchor.prod(2) - shared)
    return iou.max(1, initial=0.0).astype(np.float32)
