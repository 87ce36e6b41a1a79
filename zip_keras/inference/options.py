"""Inference options: scales, flip, NMS thresholds, number of boxes, level biases."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zip_keras.config import PostprocessConfig, check_types, from_dict, to_dict
from zip_keras.errors import UserError

if TYPE_CHECKING:
    from zip_keras.models.proposer import Proposer

# The paper's four scales, short sides of 1000, 750, 500 and 250 pixels, relative to its single scale of 600.
PAPER_SCALES = (1000 / 600, 750 / 600, 500 / 600, 250 / 600)


@dataclass(frozen=True)
class InferenceOptions:
    """Changes to a model's inference; None keeps the model's value.

    Attributes:
        max_proposals: maximum number of boxes per image.
        short_sides: image scales, as the short side in pixels.
        long_side: maximum of the longer side in pixels at every scale. If only `short_sides` is given, the model's
            value is scaled in proportion to the largest short side, so the same aspect ratios are capped.
        multi_scale: four scales in the paper's proportions to the model's own scale (1000, 750, 500, 250 for a model of
            scale 600); excludes `short_sides`.
        flip: flip test-time augmentation.
        vote_iou: box voting, see `PostprocessConfig`; 0 switches it off.
        refinement_steps: number of refinement steps, for a network trained with `model.refinement_steps`.
        level_bias: added to the scores of the three levels, fine to coarse.
        postprocess: fields of `PostprocessConfig` by name, applied before the changes above.
    """

    max_proposals: int | None = None
    short_sides: Sequence[int] | None = None
    long_side: int | None = None
    multi_scale: bool = False
    flip: bool | None = None
    vote_iou: float | None = None
    refinement_steps: int | None = None
    level_bias: tuple[float, float, float] | None = None
    postprocess: Mapping[str, Any] | None = None

    def __post_init__(self):
        sides = [("short_sides", side) for side in self.short_sides or ()]
        for name, value in (("max_proposals", self.max_proposals), *sides, ("long_side", self.long_side)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")
        if self.short_sides is not None and not len(self.short_sides):
            raise UserError("short_sides is empty; name at least one size in pixels")
        if self.vote_iou is not None and not 0 <= self.vote_iou < 1:
            raise UserError(f"vote_iou is {self.vote_iou}; it must be at least 0 (off) and below 1")
        if self.multi_scale and self.short_sides is not None:
            raise UserError("scales and multi_scale were both given; choose one")

    @property
    def only_length(self) -> bool:
        """Whether only `max_proposals` is set, the one option that a SavedModel supports."""
        return self == InferenceOptions(max_proposals=self.max_proposals)

    def apply(self, proposer: "Proposer") -> "Proposer":
        """Return the same network with these options.

        Raises:
            UserError: the largest short side is longer than the long side, or the network was not trained to refine.
        """
        short, long = self._sides(proposer)
        longest = max((side for side in short if side is not None), default=None)
        if longest is not None and longest > long:
            raise UserError(f"the short side, {longest}, is longer than the long side, {long}; set both")
        return proposer.with_options(
            postprocess=self._postprocess(proposer.postprocess_config),
            short_sides=short,
            long_side=long,
            flip=proposer.flip if self.flip is None else self.flip,
            refinement_steps=proposer.refinement_steps if self.refinement_steps is None else self.refinement_steps,
            calibration=None if self._sets_bias else proposer.calibration,
        )

    def _sides(self, proposer: "Proposer") -> tuple[Sequence[int | None], int]:
        short: Sequence[int | None] = self.short_sides or proposer.short_sides
        own = proposer.short_sides[0]
        if self.multi_scale:
            if len(proposer.short_sides) > 1:
                raise UserError(f"the model has several scales already: {list(proposer.short_sides)}")
            short = [round(factor * (own or 600)) for factor in PAPER_SCALES]
        if self.long_side is not None:
            return short, self.long_side
        if not (self.short_sides or self.multi_scale) or own is None:
            return short, proposer.long_side
        old = max(side for side in proposer.short_sides if side is not None)
        return short, round(proposer.long_side * max(side for side in short if side is not None) / old)

    @property
    def _sets_bias(self) -> bool:
        return self.level_bias is not None or "level_bias" in (self.postprocess or {})

    def _postprocess(self, config: PostprocessConfig) -> PostprocessConfig:
        config = _replaced(config, self.postprocess or {})
        if self.max_proposals is not None:  # the loosest threshold must keep as many
            counts = (max(self.max_proposals, config.counts[0]), *config.counts[1:])
            config = dataclasses.replace(config, max_proposals=self.max_proposals, counts=counts)
        if self.vote_iou is not None:
            config = dataclasses.replace(config, vote_iou=self.vote_iou or None)
        if self.level_bias is not None:
            config = dataclasses.replace(config, level_bias=self.level_bias)
        return config


def _replaced(config: PostprocessConfig, changes: Mapping[str, Any]) -> PostprocessConfig:
    known = to_dict(config)
    for name in changes:
        if name not in known:
            raise UserError(f"postprocess has no {name!r}; it has {', '.join(known)}")
    check_types(PostprocessConfig, changes)
    return from_dict(PostprocessConfig, {**known, **changes})
