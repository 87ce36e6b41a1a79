"""Configuration of the network: anchors and architecture."""

from dataclasses import dataclass, field
from typing import Literal

from zip_keras.config.checks import check_choices, check_positive, require

Merge = Literal["mad", "conv", "spatial_mad", "se", "add"]


@dataclass(frozen=True)
class AnchorConfig:
    """Anchors of the three levels, fine to coarse.

    Attributes:
        scales: square roots of the anchors' areas in pixels, one tuple per level. A level with an empty tuple has no
            head, and the zoom-in stream is built only as far as the other levels need it.
        ratios: height / width; 0.25 is four times as wide as high. The paper says five and lists six
            (0.25 0.5 0.75 1 2 4); the released code has 0.25 0.5 1 2 3.
    """

    scales: tuple[tuple[float, ...], ...] = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
    ratios: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def __post_init__(self):
        require(len(self.scales) == 3, f"scales must be three lists, one a level, not {len(self.scales)}")
        numbers = [*self.ratios, *(scale for level in self.scales for scale in level)]
        require(bool(self.ratios) and any(self.scales), "there must be a ratio, and a scale at one level at least")
        require(all(number > 0 for number in numbers), f"scales and ratios must be above 0, not {min(numbers)}")

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that have anchors, of 1, 2, 3 (strides 8, 16, 32), fine to coarse."""
        return tuple(level for level, scales in enumerate(self.scales, 1) if scales)


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of the network.

    Attributes:
        backbone: name of the zoom-out network (`zip_keras.backbones.BACKBONES`), or `keras:NETWORK:LAYER,LAYER,LAYER`.
        width: factor of the backbone's widths (rounded to multiples of 8).
        deepen: number of repeats of each backbone block of stride 1 (structure e of the paper's Table 1: one repeat,
            about 40 layers); only for backbones of inception blocks.
        pool_border: whether average pools count the zero padding: "count" (Caffe and PyTorch Inception-BN) or "ignore".
        batch_norm: "frozen", "synchronized" or "local". "frozen" fixes statistics, scale and shift of a pretrained
            backbone; the zoom-in stream, the merges and a detector's head have none yet and use "synchronized".
        zoom_in: "full" mirror (paper), "released" (shorter), or "none" (backbone only).
        zoom_in_width: width of the zoom-in stream relative to its mirror.
        upsampling: "bilinear" (paper's choice) or "deconv".
        mirror_initialisation: initialise each mirrored block from a block of the backbone where the shapes agree.
        mirror_source: that block: "same_block" (4a' from 4a), or "same_widths", the block with the same widths (4a',
            4b' and 4c' from 4d, 5a' from 5b, 3a' from 3b), with which twice as many convolutions agree.
        merge: how F and H are merged to the input of a level's head.
        attention_sources: number of maps that are merged per level (paper's lambda): 2 for F and H; 4 adds the block
            next to each in its stream (see docs/method.md) and needs `zoom_in` "full".
        attention_width: channels of MAD's hidden convolutions relative to the channels of mu, 2 C(m) in the paper.
        attention_activation: activation after MAD's hidden convolutions (the paper gives none).
        attention_normalisation: batch normalisation after MAD's hidden convolutions.
        attention_output: activation of mu: "linear", "sigmoid" (twice the sigmoid) or "softplus".
        head_channels: width of the first convolution (3x3) of a level's head (paper: 512).
        num_classes: classes of a head's softmax: 3 with the gray class, 2 without.
        quality: also predict the IoU of every anchor's box with its object, which ranks the boxes together with
            P(object); see `LossConfig` and `PostprocessConfig.quality_exponent`. Not in the paper or the released code.
        merge_normalisation: batch normalisation of F1 and F2 before they are merged; not in the paper or the released
            code.
        refinement_steps: number of refinement steps in training, each of which scores and refines regressed boxes
            again. If it is above 0, prediction may use more or fewer steps.
    """

    backbone: str = "inception_bn"
    width: float = 1.0
    deepen: int = 0
    pool_border: Literal["count", "ignore"] = "count"
    batch_norm: Literal["frozen", "synchronized", "local"] = "synchronized"
    zoom_in: Literal["full", "released", "none"] = "full"
    zoom_in_width: float = 1.0
    upsampling: Literal["bilinear", "deconv"] = "bilinear"
    mirror_initialisation: bool = True
    mirror_source: Literal["same_block", "same_widths"] = "same_block"
    merge: Merge = "mad"
    attention_sources: Literal[2, 4] = 2
    attention_width: float = 1.0
    attention_activation: Literal["linear", "relu"] = "relu"
    attention_normalisation: bool = False
    attention_output: Literal["linear", "sigmoid", "softplus"] = "linear"
    head_channels: int = 512
    num_classes: Literal[2, 3] = 3
    quality: bool = False
    merge_normalisation: bool = False
    refinement_steps: int = 0
    anchors: AnchorConfig = field(default_factory=AnchorConfig)

    def __post_init__(self):
        check_choices(self)
        check_positive(self, "width", "zoom_in_width", "attention_width", "head_channels")
        require(
            self.attention_sources == 2 or self.zoom_in == "full",
            "attention_sources 4 takes blocks that only the full zoom-in stream has; set zoom_in to full",
        )
        require(
            not (self.quality and self.refinement_steps),
            "quality is predicted for the anchors' boxes, not for refined ones; set refinement_steps to 0 or quality "
            "to false",
        )
        for name in ("deepen", "refinement_steps"):
            require(getattr(self, name) >= 0, f"{name} must not be negative, but is {getattr(self, name)}")
