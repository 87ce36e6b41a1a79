"""What anchors learn, and the loss."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from zip_keras.config.checks import check_choices, check_positive, check_range, require


@dataclass(frozen=True)
class TargetConfig:
    """What an anchor shall learn (docs/method.md, Training strategies).

    Attributes:
        positive_iou: at or above it an anchor is positive.
        gray_iou: low and high IoU of the gray class (paper 0.35-0.55, released 0.25-0.49); used with 3 classes.
        negative_iou: below it an anchor is negative (paper 0.25, released 0.15).
        ignore_untouched: released: an anchor that touches no object is ignored instead of negative, in images that have
            objects; in one without objects all anchors are negative.
        best_anchor_positive: every object's best anchor is positive too, as in Faster R-CNN; neither source has it.
        equilibrium: at most twice as many negatives as positives. Gray anchors are at most half of the sum either way.
        per_class: at most this many sampled anchors of a class, an image and a level (paper 100 of 300).
        quota: negatives sampled where a level has no positive (gray: half of it), so that every image counts.
        ignore_crowd_overlap: share of an anchor inside a crowd region from which the anchor is ignored.
    """

    positive_iou: float = 0.6
    gray_iou: tuple[float, float] = (0.35, 0.55)
    negative_iou: float = 0.25
    ignore_untouched: bool = False
    best_anchor_positive: bool = False
    equilibrium: bool = True
    per_class: int = 100
    quota: int = 20
    ignore_crowd_overlap: float = 0.5

    def __post_init__(self):
        borders = (0.0, self.negative_iou, *self.gray_iou, self.positive_iou, 1.0)
        require(
            all(low <= high for low, high in pairwise(borders)),
            f"0 <= negative_iou <= gray_iou <= positive_iou <= 1 must hold, not {borders[1:-1]}",
        )
        check_positive(self, "per_class", "ignore_crowd_overlap")
        require(self.quota >= 0, f"quota must not be negative, but is {self.quota}")


@dataclass(frozen=True)
class LossConfig:
    """Loss of a level: softmax cross-entropy over the sampled anchors + box regression on the positives.

    Attributes:
        box: of the offsets "smooth_l1" (released) or "l2" (paper: the sum of squares); of the boxes "giou",
            1 - generalised IoU, which is nearer to what average recall measures.
        box_weight: factor of the box loss.
        quality: with `ModelConfig.quality`, which anchors learn the IoU of their box: "sampled" those of the
            classification, by binary cross-entropy; "all" every anchor that is not ignored, by the quality focal loss.
        quality_weight: factor of the quality loss.
    """

    box: Literal["smooth_l1", "l2", "giou"] = "smooth_l1"
    box_weight: float = 1.0
    quality: Literal["sampled", "all"] = "sampled"
    quality_weight: float = 1.0

    def __post_init__(self):
        check_choices(self)
        check_range(self, 0, math.inf, "box_weight", "quality_weight")
