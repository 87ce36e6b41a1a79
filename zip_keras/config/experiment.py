"""One experiment: all sections together."""

from dataclasses import dataclass, field

from zip_keras.config.data import DataConfig
from zip_keras.config.detector import DetectorConfig
from zip_keras.config.learning import LossConfig, TargetConfig
from zip_keras.config.model import ModelConfig
from zip_keras.config.postprocess import PostprocessConfig
from zip_keras.config.training import TrainConfig


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything a run depends on; saved beside it as `config.yaml`."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
