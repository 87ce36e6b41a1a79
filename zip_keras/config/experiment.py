"""Configuration of an experiment: all sections."""

from dataclasses import dataclass, field

from zip_keras.config.checks import require
from zip_keras.config.data import DataConfig
from zip_keras.config.detector import DetectorConfig
from zip_keras.config.learning import LossConfig, TargetConfig
from zip_keras.config.model import ModelConfig
from zip_keras.config.postprocess import PostprocessConfig
from zip_keras.config.training import TrainConfig


@dataclass(frozen=True)
class ExperimentConfig:
    """All settings of a run; saved with it as `config.yaml`."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        data, detector = self.data, self.detector
        if not (data.train_proposals or data.val_proposals):
            return
        require(
            detector.kind == "two_stage" and detector.train == "second",
            "data.train_proposals and data.val_proposals are for the second stage of a detector alone; set "
            "detector.kind=two_stage detector.train=second",
        )
        require(bool(data.train_proposals), "data.val_proposals is set and data.train_proposals is not; set both")
        require(
            bool(data.val_proposals) or not data.val,
            "data.train_proposals is set and data.val_proposals is not; the validation images need proposals of the "
            "same method",
        )
