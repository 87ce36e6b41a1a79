"""Configuration of the training targets of anchors, and of the loss."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from zip_keras.config.checks import check_choices, check_positive, check_range, require


@dataclass(frozen=True)
class TargetConfig:
    """Training targets of anchors (docs/method.md, Training strategies).

    Attributes:
        positive_iou: minimum IoU at which an anchor is positive.
        gray_iou: low and high IoU of the gray class (paper 0.35-0.55, released 0.25-0.49); used with 3 classes.
        negative_iou: IoU below which an anchor is negative (paper 0.25, released 0.15).
        ignore_untouched: ignore anchors that touch no object, instead of labelling them negative, in images with
            objects (released). In images without objects all anchors are negative.
        best_anchor_positive: also label every object's best anchor positive, as in Faster R-CNN (not in the paper or
            the released code).
        equilibrium: sample at most twice as many negatives as positives. With or without it, gray anchors are at most
            half as many as both together.
        per_class: maximum number of sampled anchors per class, image and level (paper 100 of 300).
        quota: negatives sampled on a level without positives (gray: half as many), so that every image contributes.
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
    """Loss of a level: softmax cross-entropy of the sampled anchors and box regression of the positives.

    Attributes:
        box: "smooth_l1" (released) or "l2" (paper: the sum of squares) on the deltas, or "giou" on the boxes,
            1 - generalised IoU, which is closer to average recall.
        box_weight: factor of the box loss.
        quality: with `ModelConfig.quality`, the anchors that learn the IoU of their box: "sampled", those of the
            classification loss, with binary cross-entropy; "all", every anchor that is not ignored, with the quality
            focal loss.
        quality_weight: factor of the quality loss.
    """

    box: Literal["smooth_l1", "l2", "giou"] = "smooth_l1"
    box_weight: float = 1.0
    quality: Literal["sampled", "all"] = "sampled"
    quality_weight: float = 1.0

    def __post_init__(self):
        check_choices(self)
        check_range(self, 0, math.inf, "box_weight", "quality_weight")
