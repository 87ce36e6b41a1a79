"""Configuration of an experiment as dataclasses with all defaults; `configs/*.yaml` and overrides change them.

Where the paper and the released code disagree, a field's documentation names both values ("paper" is IJCV, arXiv
1709.04347; "released" is the authors' Caffe code, which has no attention and no detection head).
"""

from zip_keras.config.checks import check_types
from zip_keras.config.conversion import from_dict, to_dict
from zip_keras.config.data import DataConfig, Resize
from zip_keras.config.detector import (
    DetectionConfig,
    DetectorConfig,
    DetectorLossConfig,
    RoIHeadConfig,
    RoITargetConfig,
)
from zip_keras.config.experiment import ExperimentConfig
from zip_keras.config.learning import LossConfig, TargetConfig
from zip_keras.config.model import AnchorConfig, Merge, ModelConfig
from zip_keras.config.postprocess import PostprocessConfig
from zip_keras.config.training import TrainConfig

__all__ = [
    "AnchorConfig",
    "DataConfig",
    "DetectionConfig",
    "DetectorConfig",
    "DetectorLossConfig",
    "ExperimentConfig",
    "LossConfig",
    "Merge",
    "ModelConfig",
    "PostprocessConfig",
    "Resize",
    "RoIHeadConfig",
    "RoITargetConfig",
    "TargetConfig",
    "TrainConfig",
    "check_types",
    "from_dict",
    "to_dict",
]
