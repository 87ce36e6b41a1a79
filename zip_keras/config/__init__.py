"""One experiment, typed. Every default of the project is here; `configs/*.yaml` and the command line override it.

Where the paper and the released code disagree, the comment says which value is whose (METHOD: "paper" is IJCV, arXiv
1709.04347; "released" is the authors' Caffe code, which has no attention and no detection head).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from zip_keras.errors import UserError

Resize = Literal["fixed", "random", "dynamic"]
Merge = Literal["mad", "conv", "spatial_mad", "se", "add"]


@dataclass(frozen=True)
class AnchorConfig:
    """Anchors of the three levels, fine to coarse.

    Attributes:
        scales: square roots of the anchors' areas in pixels, one tuple a level. A level with an empty tuple has no
            head; of the zoom-in stream no more is built than the other levels need.
        ratios: height / width; 0.25 is four times as wide as high. Paper says five and lists six
            (0.25 0.5 0.75 1 2 4); released has 0.25 0.5 1 2 3.
    """

    scales: tuple[tuple[float, ...], ...] = ((16.0, 32.0), (64.0, 128.0), (256.0, 512.0))
    ratios: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)

    def __post_init__(self):
        _require(len(self.scales) == 3, f"scales must be three lists, one a level, not {len(self.scales)}")
        numbers = [*self.ratios, *(scale for level in self.scales for scale in level)]
        _require(bool(self.ratios) and any(self.scales), "there must be a ratio, and a scale at one level at least")
        _require(all(number > 0 for number in numbers), f"scales and ratios must be above 0, not {min(numbers)}")

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that have anchors, of 1, 2, 3 (strides 8, 16, 32), fine to coarse."""
        return tuple(level for level, scales in enumerate(self.scales, 1) if scales)


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        backbone: name of the zoom-out network (`zip_keras.backbones.BACKBONES`), or `keras:NETWORK:LAYER,LAYER,LAYER`.
        width: multiplies the backbone's widths (rounded to multiples of 8).
        deepen: how often each block of the backbone that keeps the stride is repeated (paper's Table 1, structure e: once,
            for about 40 layers); only backbones of inception blocks can be deepened.
        pool_border: average pools count the zero padding ("count": Caffe and PyTorch Inception-BN) or not ("ignore").
        batch_norm: "frozen" (statistics and scale fixed; for a pretrained backbone), "synchronized" or "local".
        zoom_in: "full" mirror (paper), "released" (shorter), or "none" (zoom-out alone).
        zoom_in_width: width of the zoom-in stream relative to its mirror.
        upsampling: "bilinear" (paper's choice) or "deconv".
        mirror_initialisation: start each mirrored block from its mirror's weights where the shapes agree.
        merge: how F and H become the input of a level's head.
        attention_sources: maps of which a level's merged map is made (paper's lambda): 2, F and H; 4, also the block
            next to each in its stream (docs/method.md says which), for which `zoom_in` must be "full".
        attention_width: channels of MAD's hidden convolutions relative to those it decides on, 2 C(m) in the paper.
        attention_activation: after MAD's hidden convolutions (the paper gives none).
        attention_normalisation: batch normalisation after MAD's hidden convolutions.
        attention_output: what makes mu of MAD's last convolution: "linear", "sigmoid" (twice the sigmoid), "softplus".
        head_channels: width of the 3x3 convolution that opens a level's head (paper: 512).
        classes: 3 with the gray class, 2 without.
        recursion: how often the regressed boxes are fed back, scored again and refined in training; prediction may take
            more or fewer passes where it is above 0.
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
    merge: Merge = "mad"
    attention_sources: Literal[2, 4] = 2
    attention_width: float = 1.0
    attention_activation: Literal["linear", "relu"] = "relu"
    attention_normalisation: bool = False
    attention_output: Literal["linear", "sigmoid", "softplus"] = "linear"
    head_channels: int = 512
    classes: Literal[2, 3] = 3
    recursion: int = 0
    anchors: AnchorConfig = field(default_factory=AnchorConfig)

    def __post_init__(self):
        _check_choices(self)
        _check_positive(self, "width", "zoom_in_width", "attention_width", "head_channels")
        _require(
            self.attention_sources == 2 or self.zoom_in != "released",
            "attention_sources 4 takes a block that the released zoom-in stream has not; set zoom_in to full",
        )
        for name in ("deepen", "refinements"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative, but is {getattr(self, name)}")


@dataclass(frozen=True)
class TargetConfig:
    """What an anchor shall learn (METHOD section 5).

    Attributes:
        positive_iou: at or above it an anchor is positive.
        gray_iou: low and high IoU of the gray class (paper 0.35-0.55, released 0.25-0.49); used with 3 classes.
        negative_iou: below it an anchor is negative (paper 0.25, released 0.15).
        ignore_untouched: released: an anchor that touches no object is ignored instead of negative.
        best_anchor_positive: every object's best anchor is positive too, as in Faster R-CNN; neither source has it.
        equilibrium: at most twice as many negatives as positives, gray half of their sum.
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
        _require(
            all(low <= high for low, high in pairwise(borders)),
            f"0 <= negative_iou <= gray_iou <= positive_iou <= 1 must hold, not {borders[1:-1]}",
        )
        _check_positive(self, "per_class", "ignore_crowd_overlap")
        _require(self.quota >= 0, f"quota must not be negative, but is {self.quota}")


@dataclass(frozen=True)
class LossConfig:
    """Loss of a level: softmax cross-entropy over the sampled anchors + box regression on the positives.

    Attributes:
        box: of the offsets "smooth_l1" (released) or "l2" (paper); of the boxes "giou", 1 - generalised IoU, which is
            nearer to what average recall measures.
        box_weight: factor of the box loss.
    """

    box: Literal["smooth_l1", "l2", "giou"] = "smooth_l1"
    box_weight: float = 1.0

    def __post_init__(self):
        _check_choices(self)
        _check_range(self, 0, math.inf, "box_weight")


@dataclass(frozen=True)
class PostprocessConfig:
    """From scored boxes of three levels to one list (METHOD section 6).

    Attributes:
        level_bias: added to a level's scores before anything else, strides 8, 16, 32; that of a level without anchors
            is not used.
        pre_nms_top_n: boxes of a level, best first, that enter its suppression; None = all (the paper names no limit).
        nms_iou, post_nms_top_n: suppression within a level.
        min_size: boxes with a side below it, in pixels of the image, are dropped.
        thresholds, counts: the multi-threshold table: the first counts[-1] boxes are diverse at thresholds[-1], ...
        max_proposals: length of the returned list.
        vote_iou: box voting: a listed box becomes the score-weighted mean of those overlapping it so much; None = off.
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

    def __post_init__(self):
        _require(
            len(self.thresholds) == len(self.counts) > 0,
            f"thresholds and counts must be equally long, not {len(self.thresholds)} and {len(self.counts)}",
        )
        for name in ("thresholds", "counts"):
            values = getattr(self, name)
            _require(all(a > b for a, b in pairwise(values)), f"{name} must decrease, not {list(values)}")
            _require(values[-1] > 0, f"{name} must be above 0, not {values[-1]}")
        _require(self.thresholds[0] <= 1, f"thresholds must be at most 1, not {self.thresholds[0]}")
        _check_positive(self, "pre_nms_top_n", "post_nms_top_n", "max_proposals", "vote_iou", "nms_iou")
        _check_range(self, 0, 1, "vote_iou", "nms_iou")
        _check_range(self, 0, math.inf, "min_size")
        _require(
            len(self.level_bias) == 3, f"level_bias must be three numbers, one a level, not {len(self.level_bias)}"
        )


@dataclass(frozen=True)
class DataConfig:
    """Training and validation images and how they are scaled.

    Attributes:
        train, val: data set specs, see docs/ARCHITECTURE.md.
        train_images: only the first so many training images; 0 = all.
        on_defect: what a defect in them does: "error", "skip" the object or image, or "clip" the box.
        resize: "fixed" short side, "random" short side (one draw a batch), or "dynamic" train scale.
        short_side: of "fixed", of validation and of the exported model.
        long_side: cap of the longer side.
        random_short_sides: the choices of "random".
        dynamic_variant: the drawn target side, "paper" 64-128 or "released" 72-128 pixels.
        dynamic_min_short, dynamic_max_long: bounds of "dynamic", in pixels (released 800).
        flip: mirror half of the images.
        colour_jitter: largest relative change of brightness, contrast and saturation; 0 = off.
        crop: probability of a random crop.
        bucket_multiple: padded sides are multiples of it, so that few shapes occur.
        max_boxes: boxes an image may have; None = the most in the data set.
    """

    train: str = ""
    val: str = ""
    train_images: int = 0
    on_defect: Literal["error", "skip", "clip"] = "error"
    resize: Resize = "dynamic"
    short_side: int = 600
    long_side: int = 1000
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
        _check_choices(self)
        _check_positive(self, "short_side", "long_side", "dynamic_min_short", "dynamic_max_long", "bucket_multiple")
        _check_positive(self, "max_boxes")
        _check_range(self, 0, math.inf, "train_images")
        _check_range(self, 0, 1, "colour_jitter", "crop")
        _require(
            len(self.random_short_sides) > 0 and min(self.random_short_sides) > 0,
            f"random_short_sides must be numbers above 0, not {list(self.random_short_sides)}",
        )
        _require(
            self.short_side <= self.long_side,
            f"short_side {self.short_side} is larger than long_side {self.long_side}",
        )


@dataclass(frozen=True)
class TrainConfig:
    """The run.

    Attributes:
        steps: optimizer steps in all.
        batch_size: images a step, over all replicas.
        learning_rate: at the start, after the warm-up.
        backbone_rate: learning rate of the backbone relative to the rest; below 1 for a pretrained one.
        schedule: "halve" every `halve_every` steps (paper), or "cosine" to zero.
        warmup_steps: linear rise from a tenth.
        momentum, weight_decay: SGD; the decay is Caffe's (added to the gradient), not on biases and batch norms.
        clip_norm: global norm to which the all-reduced gradient is clipped; 0 = off.
        ema: decay of the averaged weights that are evaluated and saved; 0 = off.
        dtype: "float32", "mixed_bfloat16" or "mixed_float16"; boxes and losses stay float32.
        seed: of weights, order, augmentation and anchor sampling.
        deterministic: also ask TensorFlow for deterministic kernels (slower).
        strategy: "auto" (one device or all local GPUs), "one", "mirrored", "multi_worker" (TF_CONFIG).
        devices: for "mirrored": number of devices; 0 = all GPUs, or logical CPU devices of that number.
        log_every, evaluate_every, checkpoint_every: in steps.
        evaluate_images: validation images of an evaluation during training; 0 = all.
        weights: starts from this `.npz` or `.keras` file or preset where names and shapes agree; None = from scratch.
        freeze: names of the backbone's blocks to keep fixed, from its input on; "backbone" freezes all of it.
        keep_checkpoints: besides the best.
    """

    steps: int = 56000
    batch_size: int = 4
    learning_rate: float = 1e-4
    backbone_rate: float = 1.0
    schedule: Literal["halve", "cosine"] = "halve"
    halve_every: int = 7000
    warmup_steps: int = 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    ema: float = 0.0
    dtype: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    seed: int = 0
    deterministic: bool = False
    strategy: Literal["auto", "one", "mirrored", "multi_worker"] = "auto"
    devices: int = 0
    log_every: int = 20
    evaluate_every: int = 1000
    checkpoint_every: int = 500
    evaluate_images: int = 0
    weights: str | None = None
    freeze: str | None = None
    keep_checkpoints: int = 2

    def __post_init__(self):
        _check_choices(self)
        _check_positive(self, "steps", "batch_size", "learning_rate", "backbone_rate", "halve_every")
        _check_positive(self, "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints")
        not_negative = ("warmup_steps", "weight_decay", "clip_norm", "seed", "devices", "evaluate_images")
        _check_range(self, 0, math.inf, *not_negative)
        _check_range(self, 0, 0.999999, "momentum", "ema")  # at 1 nothing is ever learnt


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything a run depends on; saved beside it as `config.yaml`."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    suppression: PostprocessConfig = field(default_factory=PostprocessConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain dicts, lists and numbers, ready for json, yaml or a layer's `get_config`."""
    return _plain(dataclasses.asdict(config))


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """The inverse of `to_dict`: lists become the dataclass's tuples, nested dicts nested dataclasses."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = set(values) - set(fields)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {sorted(unknown)}; it has {sorted(fields)}")
    nested = {
        name: from_dict(f.default_factory, values[name])  # type: ignore[arg-type]
        for name, f in fields.items()
        if name in values and isinstance(f.default_factory, type) and dataclasses.is_dataclass(f.default_factory)
    }
    return cls(**{name: nested.get(name, _frozen(value)) for name, value in values.items()})


def check_types(cls: type, values: Mapping[str, Any]) -> None:
    """Raises `UserError` for a value that is not what the dataclass's field takes; not for a field it has not.

    Config files and overrides are checked by their parser; this is for values from elsewhere.
    """
    hints = get_type_hints(cls)
    for name, value in values.items():
        if name in hints and not _is_a(value, hints[name]):
            kind = hints[name].__name__ if isinstance(hints[name], type) else str(hints[name])
            raise UserError(f"{name} must be {kind}, not {value!r}")


def _is_a(value: Any, hint: Any) -> bool:
    """Numbers must be finite; whole ones are floats too, and truth values are no numbers. Lists pass for tuples."""
    members = get_args(hint)
    if isinstance(hint, UnionType):
        return any(_is_a(value, member) for member in members)
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            return False
        kinds = [members[0]] * len(value) if members[-1] is ... else members
        return len(kinds) == len(value) and all(map(_is_a, value, kinds))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UserError(message)


def _check_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(value is None or value > 0, f"{name} must be above 0, not {value}")


def _check_range(config: Any, low: float, high: float, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        bounds = f"from {low} to {high}" if high < math.inf else f"{low} or more"
        _require(value is None or low <= value <= high, f"{name} must be {bounds}, not {value}")


def _check_choices(config: Any) -> None:
    """Refuses a value that is not among those of its field's `Literal`."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal:
            choices: Sequence[Any] = get_args(hint)
            value = getattr(config, name)
            _require(value in choices, f"{name} must be one of {', '.join(map(str, choices))}, not {value}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value
