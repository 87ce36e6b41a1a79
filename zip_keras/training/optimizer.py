"""SGD as in the paper, AdamW, and learning rate schedules (docs/method.md, Training strategies)."""

import math
from collections.abc import Iterable

import keras
from keras import ops

from zip_keras.config import TrainConfig
from zip_keras.layers.registry import serializable


@serializable
class DecayedSGD(keras.optimizers.SGD):
    """SGD with momentum whose weight decay is added to the gradient, as in Caffe.

    Keras's `weight_decay` is decoupled from the gradient, so with momentum 0.9 the same value decays ten times less.
    Biases and batch norm parameters (variables of one dimension) are not decayed. Use `decay`, not `weight_decay`.

    Args:
        decay: weight decay as in Caffe.
        backbone_rate: learning rate of the backbone, relative to that of the other variables.
        backbone_paths: paths of the backbone's variables, see `ProposalNetwork.backbone_paths`.
    """

    def __init__(
        self,
        learning_rate=1e-4,
        momentum: float = 0.9,
        decay: float = 0.0,
        backbone_rate: float = 1.0,
        backbone_paths: Iterable[str] = (),
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.decay, self.backbone_rate, self.backbone_paths = decay, backbone_rate, frozenset(backbone_paths)
        self._rates: list[float] = []

    def build(self, variables):
        self._rates = [self.backbone_rate if variable.path in self.backbone_paths else 1.0 for variable in variables]
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = learning_rate * self._rates[self._get_variable_index(variable)]
        if self.decay and len(variable.shape) > 1:
            gradient = gradient + ops.cast(self.decay, gradient.dtype) * ops.convert_to_tensor(variable)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        own = {"decay": self.decay, "backbone_rate": self.backbone_rate, "backbone_paths": sorted(self.backbone_paths)}
        return {**super().get_config(), **own}


@serializable
class RatedAdamW(keras.optimizers.AdamW):
    """AdamW (decoupled decay) with a separate backbone learning rate. Biases and batch norms are not decayed.

    Args:
        backbone_rate: learning rate of the backbone, relative to that of the other variables.
        backbone_paths: paths of the backbone's variables, see `ProposalNetwork.backbone_paths`.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        weight_decay: float = 0.0,
        backbone_rate: float = 1.0,
        backbone_paths: Iterable[str] = (),
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.backbone_rate, self.backbone_paths = backbone_rate, frozenset(backbone_paths)
        self._rates: list[float] = []

    def build(self, variables):
        self._rates = [self.backbone_rate if variable.path in self.backbone_paths else 1.0 for variable in variables]
        self.exclude_from_weight_decay([variable for variable in variables if len(variable.shape) < 2])
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self._rates[self._get_variable_index(variable)])

    def get_config(self):
        return {
            **super().get_config(),
            "backbone_rate": self.backbone_rate,
            "backbone_paths": sorted(self.backbone_paths),
        }


@serializable
class WarmUpSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate schedule: linear warm-up from a tenth of `base`, multiplied by halving (paper) or cosine decay.

    Args:
        base: initial rate without warm-up.
        kind: "halve": halve the rate every `halve_every` steps; "cosine": decay to zero at `steps`.
        halve_every: number of steps between halvings.
        steps: number of steps of the cosine decay.
        warmup_steps: number of warm-up steps; 0 = no warm-up.
    """

    def __init__(
        self, base: float, kind: str = "halve", halve_every: int = 7000, steps: int = 1, warmup_steps: int = 0
    ):
        if kind not in ("halve", "cosine"):
            raise ValueError(f"schedule must be 'halve' or 'cosine', not {kind!r}")
        self.base, self.kind, self.halve_every = base, kind, halve_every
        self.steps, self.warmup_steps = steps, warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        if self.kind == "halve":
            rate = self.base * 0.5 ** ops.floor(step / self.halve_every)
        else:
            rate = self.base * 0.5 * (1.0 + ops.cos(math.pi * ops.minimum(step / self.steps, 1.0)))
        if not self.warmup_steps:
            return rate
        return rate * ops.minimum(0.1 + 0.9 * step / self.warmup_steps, 1.0)

    def get_config(self):
        return {
            "base": self.base,
            "kind": self.kind,
            "halve_every": self.halve_every,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
        }


def build_optimizer(config: TrainConfig, backbone_paths: Iterable[str]) -> keras.optimizers.Optimizer:
    """The optimizer of a run, wrapped in loss scaling if the compute type is float16.

    Args:
        config: optimizer, rates and schedule.
        backbone_paths: paths of the variables that use `config.backbone_rate`, see `ProposalNetwork.backbone_paths`.
    """
    schedule = WarmUpSchedule(
        config.learning_rate, config.schedule, config.halve_every, config.steps, config.warmup_steps
    )
    optimizer: keras.optimizers.Optimizer
    if config.optimizer == "adamw":
        optimizer = RatedAdamW(schedule, config.weight_decay, config.backbone_rate, backbone_paths)
    else:
        optimizer = DecayedSGD(schedule, config.momentum, config.weight_decay, config.backbone_rate, backbone_paths)
    if config.dtype == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
