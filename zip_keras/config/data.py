"""Configuration of the images and their scaling."""

import math
from dataclasses import dataclass
from typing import Literal

from zip_keras.config.checks import check_choices, check_positive, check_range, require

Resize = Literal["fixed", "random", "dynamic"]


@dataclass(frozen=True)
class DataConfig:
    """Training and validation images and their scaling.

    Attributes:
        train, val: data set specs, see docs/ARCHITECTURE.md.
        train_proposals, val_proposals: proposal files of any method for these images. The second stage of a detector is
            trained and evaluated on them instead of its own network's proposals; for `detector.train` "second".
        train_images: number of training images, taken from the beginning; 0 = all.
        unseen_classes: classes whose objects are removed from training, as if they were not annotated (paper Table 5).
            The network learns background there. Class names and numbers do not change. Validation also evaluates the
            seen and the unseen classes separately, and the best model is selected on the seen classes.
        on_defect: handling of defects in the data: "error", "skip" the object or image, or "clip" the box. With "skip"
            and "clip", image files (not records) are decoded once before the first step to find broken ones.
        resize: "fixed" short side, "random" short side (one draw per batch), or "dynamic" train scale.
        short_side: short side of "fixed", of validation and of the exported model, in pixels.
        long_side: maximum of the longer side, in pixels.
        test_short_sides: short sides for multi-scale testing in validation and in the saved model; the boxes of all
            scales are merged. Empty: only `short_side`.
        test_long_side: maximum of the longer side at these scales; None: `long_side` in proportion to the largest.
        random_short_sides: the short sides from which "random" draws.
        dynamic_variant: range of the random target side, "paper" 64-128 or "released" 72-128 pixels.
        dynamic_min_short, dynamic_max_long: bounds of "dynamic", in pixels (released 800).
        flip: mirror half of the images.
        colour_jitter: maximum relative change of brightness, contrast and saturation; 0 = off.
        crop: probability of a random crop.
        bucket_multiple: padded sides are multiples of this number, which limits the number of different shapes.
        max_boxes: maximum number of boxes per image; None = the maximum in the data set.
    """

    train: str = ""
    val: str = ""
    train_proposals: str = ""
    val_proposals: str = ""
    train_images: int = 0
    unseen_classes: tuple[str, ...] = ()
    on_defect: Literal["error", "skip", "clip"] = "error"
    resize: Resize = "dynamic"
    short_side: int = 600
    long_side: int = 1000
    test_short_sides: tuple[int, ...] = ()
    test_long_side: int | None = None
    random_short_sides: tuple[int, ...] = (400, 500, 600)
    dynamic_variant: Literal["paper", "released"] = "paper"
    dynamic_min_short: int = 100
    dynamic_max_long: int = 800
    flip: bool = True
    colour_jitter: float = 0.0
    crop: float = 0.0
    bucket_multiple: int = 64
    max_boxes: int | None = None

    def __post_init__(self):
        check_choices(self)
        check_positive(self, "short_side", "long_side", "dynamic_min_short", "dynamic_max_long", "bucket_multiple")
        check_positive(self, "max_boxes", "test_long_side")
        require(
            min(self.test_short_sides, default=1) > 0,
            f"test_short_sides must be numbers above 0, not {list(self.test_short_sides)}",
        )
        require(
            self.test_long_side is None or max(self.test_short_sides, default=0) <= self.test_long_side,
            f"test_long_side {self.test_long_side} is smaller than the largest of test_short_sides",
        )
        check_range(self, 0, math.inf, "train_images")
        check_range(self, 0, 1, "colour_jitter", "crop")
        require(
            len(self.random_short_sides) > 0 and min(self.random_short_sides) > 0,
            f"random_short_sides must be numbers above 0, not {list(self.random_short_sides)}",
        )
        require(
            self.short_side <= self.long_side,
            f"short_side {self.short_side} is larger than long_side {self.long_side}",
        )
