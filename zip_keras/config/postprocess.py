"""Configuration of the ranking of scored boxes."""

import math
from dataclasses import dataclass
from itertools import pairwise

from zip_keras.config.checks import check_positive, check_range, require


@dataclass(frozen=True)
class PostprocessConfig:
    """Ranking of the scored boxes of three levels in one list (docs/method.md, Prediction).

    Attributes:
        level_bias: added to the scores of a level (strides 8, 16, 32) before the levels are merged; not used for a
            level without anchors.
        pre_nms_top_n: number of best boxes of a level that enter its NMS; None = all (the paper gives no limit).
        nms_iou: IoU above which a level's lower-scored box is dropped.
        post_nms_top_n: number of boxes of a level kept after its NMS.
        min_size: boxes with a side below it, in pixels of the image, are dropped.
        thresholds, counts: table of multi-threshold NMS: the first counts[-1] boxes come from NMS at thresholds[-1],
            and so on.
        max_proposals: length of the returned list.
        quality_exponent: e of a network with `ModelConfig.quality`: the score is P(object) ** (1 - e) * quality ** e.
        vote_iou: box voting: a returned box becomes the score-weighted mean of the boxes with at least this IoU; None =
            off.
    """

    level_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pre_nms_top_n: int | None = 6000
    nms_iou: float = 0.5
    post_nms_top_n: int = 2000
    min_size: float = 1.0
    thresholds: tuple[float, ...] = (0.95, 0.90, 0.85, 0.80, 0.75, 0.65, 0.60, 0.55)
    counts: tuple[int, ...] = (2000, 1000, 400, 200, 100, 40, 20, 10)
    max_proposals: int = 300
    vote_iou: float | None = None
    quality_exponent: float = 0.5

    def __post_init__(self):
        require(
            len(self.thresholds) == len(self.counts) > 0,
            f"thresholds and counts must be equally long, not {len(self.thresholds)} and {len(self.counts)}",
        )
        for name in ("thresholds", "counts"):
            values = getattr(self, name)
            require(all(a > b for a, b in pairwise(values)), f"{name} must decrease, not {list(values)}")
            require(values[-1] > 0, f"{name} must be above 0, not {values[-1]}")
        require(self.thresholds[0] <= 1, f"thresholds must be at most 1, not {self.thresholds[0]}")
        check_positive(self, "pre_nms_top_n", "post_nms_top_n", "max_proposals", "vote_iou", "nms_iou")
        check_range(self, 0, 1, "vote_iou", "nms_iou", "quality_exponent")
        check_range(self, 0, math.inf, "min_size")
        require(len(self.level_bias) == 3, f"level_bias must be three numbers, one a level, not {len(self.level_bias)}")

    @property
    def output_size(self) -> int:
        """Length of the returned list."""
        return min(self.max_proposals, self.counts[0])
