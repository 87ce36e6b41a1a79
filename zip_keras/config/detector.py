"""Configuration of detectors: a second stage, or one stage with class-aware heads. Paper section 4."""

import math
from dataclasses import dataclass, field
from typing import Literal

from zip_keras.config.checks import check_choices, check_positive, check_range, require


@dataclass(frozen=True)
class RoIHeadConfig:
    """The RoI head of a two-stage detector.

    Attributes:
        pooling: "align" (RoIAlign) or "max" (the paper's RoI pooling; slower here).
        pool_size: bins per side.
        width: channels of the pooled maps after the convolution of each level, and of the first blocks' output; the
            last blocks have twice as many (paper: 1024 and 2048).
        blocks: numbers of residual bottlenecks of the first and of the second kind, shared by all levels (paper: six,
            res4b15 to res4b20 of ResNet-101, and three, res5a to res5c, the first of which halves the size).
        normalisation: "batch", or "group", which does not depend on the other RoIs.
    """

    pooling: Literal["align", "max"] = "align"
    pool_size: int = 7
    width: int = 1024
    blocks: tuple[int, int] = (6, 3)
    normalisation: Literal["batch", "group"] = "batch"

    def __post_init__(self):
        check_choices(self)
        check_positive(self, "pool_size", "width")
        require(self.width % 4 == 0, f"width must be a multiple of 4, not {self.width}")
        require(len(self.blocks) == 2 and min(self.blocks) >= 0, f"blocks must be two counts, not {list(self.blocks)}")


@dataclass(frozen=True)
class RoITargetConfig:
    """Training targets of RoIs. Values that the paper does not give are those of Fast R-CNN.

    Attributes:
        per_image: number of RoIs per image in the loss (paper: a mini-batch of 300).
        positive_share: maximum share of objects among them.
        positive_iou: minimum IoU at which an RoI has the object's class.
        negative_iou: IoU below which an RoI is background.
        append_ground_truth: add the objects themselves to the RoIs.
        proposals: number of the network's best proposals from which RoIs are drawn in training.
    """

    per_image: int = 300
    positive_share: float = 0.25
    positive_iou: float = 0.5
    negative_iou: float = 0.5
    append_ground_truth: bool = True
    proposals: int = 2000

    def __post_init__(self):
        check_positive(self, "per_image", "proposals", "positive_iou")
        check_range(self, 0, 1, "positive_share", "positive_iou", "negative_iou")
        require(
            self.negative_iou <= self.positive_iou,
            f"negative_iou {self.negative_iou} is above positive_iou {self.positive_iou}",
        )


@dataclass(frozen=True)
class DetectorLossConfig:
    """Loss of classes and class-wise boxes.

    Attributes:
        box: "smooth_l1" or "l2" on the deltas, or "giou" on the boxes.
        box_weight: factor of the box loss.
        weight: factor of the second stage's loss relative to the proposal network's.
        anchors: anchors in the loss of a one-stage detector. "sampled": as in the proposal network. "hard_negatives":
            all positives and `negative_ratio` times as many of the negatives with the highest loss (SSD). "focal": all,
            with the focal loss.
        negative_ratio: negatives per positive of "hard_negatives".
        focal_alpha, focal_gamma: parameters of "focal" (Lin et al., arXiv 1708.02002).
    """

    box: Literal["smooth_l1", "l2", "giou"] = "smooth_l1"
    box_weight: float = 1.0
    weight: float = 1.0
    anchors: Literal["sampled", "hard_negatives", "focal"] = "sampled"
    negative_ratio: float = 3.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0

    def __post_init__(self):
        check_choices(self)
        check_range(self, 0, math.inf, "box_weight", "weight", "focal_gamma")
        check_positive(self, "negative_ratio")
        check_range(self, 0, 1, "focal_alpha")


@dataclass(frozen=True)
class DetectionConfig:
    """Postprocessing of classified boxes to one list.

    Attributes:
        pre_nms_top_n: number of best pairs of box and class that enter the NMS.
        nms_iou: IoU above which a lower-scored box of the same class is dropped.
        max_detections: length of the returned list.
        score_threshold: minimum score of a returned box; applied last, so it does not change the other boxes.
        min_size: boxes with a side below it, in pixels of the image, are dropped.
    """

    pre_nms_top_n: int = 2000
    nms_iou: float = 0.5
    max_detections: int = 100
    score_threshold: float = 0.0
    min_size: float = 1.0

    def __post_init__(self):
        check_positive(self, "pre_nms_top_n", "max_detections", "nms_iou")
        check_range(self, 0, 1, "nms_iou", "score_threshold")
        check_range(self, 0, math.inf, "min_size")

    @property
    def output_size(self) -> int:
        """Length of the returned list."""
        return self.max_detections


@dataclass(frozen=True)
class DetectorConfig:
    """The kind of model to train: a proposal network, or a detector of the data set's classes.

    Attributes:
        kind: "none" trains a proposal network; "two_stage" classifies its proposals (paper); "one_stage" predicts the
            scores of all classes for every anchor.
        train: stages of a two-stage detector to train: "both" with one loss, or only the "second" on fixed proposals.
        start_classes: initialise a one-stage detector's scores of COCO classes from the classifier in `train.weights`,
            which is part of a file of `zip-keras convert_weights --backbone picodet_s`.
    """

    kind: Literal["none", "one_stage", "two_stage"] = "none"
    train: Literal["both", "second"] = "both"
    start_classes: bool = False
    head: RoIHeadConfig = field(default_factory=RoIHeadConfig)
    targets: RoITargetConfig = field(default_factory=RoITargetConfig)
    loss: DetectorLossConfig = field(default_factory=DetectorLossConfig)
    postprocess: DetectionConfig = field(default_factory=DetectionConfig)

    def __post_init__(self):
        check_choices(self)
        require(not self.start_classes or self.kind == "one_stage", "start_classes needs kind one_stage")
