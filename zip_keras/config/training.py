"""Configuration of the training run."""

import math
from dataclasses import dataclass
from typing import Literal

from zip_keras.config.checks import check_choices, check_positive, check_range


@dataclass(frozen=True)
class TrainConfig:
    """The training run.

    Attributes:
        steps: total number of optimizer steps.
        batch_size: images per step, over all replicas.
        optimizer: "sgd" (paper) or "adamw", which learns faster at first if little of the network is pretrained.
        learning_rate: initial learning rate, after the warm-up.
        backbone_rate: learning rate of the backbone relative to the rest; below 1 for a pretrained backbone.
        schedule: "halve" every `halve_every` steps (paper), or "cosine" to zero.
        halve_every: steps between two halvings of the learning rate.
        warmup_steps: steps of a linear warm-up from a tenth of the learning rate.
        momentum: momentum of SGD.
        weight_decay: weight decay except for biases and batch norms; added to the gradient with SGD (as in Caffe),
            decoupled with AdamW.
        clip_norm: maximum global norm of the all-reduced gradient; 0 = off.
        ema: decay of the averaged weights that are evaluated and saved; 0 = off.
        dtype: "float32", "mixed_bfloat16" or "mixed_float16"; boxes and losses stay float32.
        seed: seed of weights, order, augmentation and anchor sampling.
        deterministic: also use TensorFlow's deterministic kernels (slower).
        strategy: "auto" (one device or all local GPUs), "one", "mirrored", "multi_worker" (TF_CONFIG).
        devices: number of devices of "mirrored"; 0 = all GPUs. Without GPUs it is the number of logical CPU devices.
        log_every, evaluate_every, checkpoint_every: intervals in steps.
        evaluate_start: also evaluate before the first step, for comparison with later evaluations; None: only if
            `weights` fills the whole network (fine-tuning).
        evaluate_images: number of validation images per evaluation during training; 0 = all.
        weights: `.npz` or `.keras` file, or preset, to start from where names and shapes agree; None = from scratch.
        head_weights: file of ResNet-101 that initialises the blocks of a two-stage detector's head (paper: res4b15 to
            res4b20, res5a to res5c); see docs/detection.md.
        freeze: name of the backbone block up to which all blocks are frozen, from the input on; "backbone" freezes all.
        keep_checkpoints: number of checkpoints to keep besides the best.
    """

    steps: int = 56000
    batch_size: int = 4
    optimizer: Literal["sgd", "adamw"] = "sgd"
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
    evaluate_start: bool | None = None
    evaluate_images: int = 0
    weights: str | None = None
    head_weights: str | None = None
    freeze: str | None = None
    keep_checkpoints: int = 2

    def __post_init__(self):
        check_choices(self)
        check_positive(self, "steps", "batch_size", "learning_rate", "backbone_rate", "halve_every")
        check_positive(self, "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints")
        not_negative = ("warmup_steps", "weight_decay", "clip_norm", "seed", "devices", "evaluate_images")
        check_range(self, 0, math.inf, *not_negative)
        check_range(self, 0, 0.999999, "momentum", "ema")  # an average with decay 1 never changes
