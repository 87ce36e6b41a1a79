"""A run so small that a test can afford it; tracing a zoom-in stream too would take most of its time.

`python -m tests.training.tiny DEVKIT RUN_DIR [key=value ...] [-- RUN_DIR [key=value ...]]` does runs one after the
other in a process of its own.
"""

import itertools
import sys

import keras

import tests.tiny_backbone  # noqa: F401 (registers the backbone)
from zip_keras.config.files import read_config
from zip_keras.training.run import train
from zip_keras.training.start import build_network

OVERRIDES = [
    "data.resize=fixed",
    "data.short_side=64",
    "data.long_side=128",
    "data.bucket_multiple=32",
    "model.backbone=tiny",
    "model.width=0.125",
    "model.zoom_in=none",
    "model.head_channels=16",
    "model.anchors.scales=[[8,12],[24,32],[48,64]]",
    "targets.best_anchor_positive=true",
    "train.batch_size=4",
    "train.learning_rate=0.01",
    "train.clip_norm=1.0",
    "train.ema=0.9",
    "train.steps=4",
    "train.evaluate_every=4",
    "train.checkpoint_every=2",
    "train.log_every=2",
    "train.strategy=one",
]


def tiny_config(devkit, *overrides):
    """The config of a tiny run on a devkit folder."""
    return read_config(None, [f"data.train={devkit}:train", *OVERRIDES, *overrides])


def weights_of(run_dir):
    """The weights that a run saved, by name."""
    network = keras.models.load_model(run_dir / "last.keras").network
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in network.variables}


def start_weights(config):
    """The weights that a run of this config begins with, by name."""
    keras.utils.set_random_seed(config.train.seed)
    network, _ = build_network(config)
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in network.variables}


if __name__ == "__main__":
    devkit, *rest = sys.argv[1:]
    for _, run in itertools.groupby(rest, lambda word: word != "--"):
        run_dir, *overrides = run
        if run_dir != "--":
            train(tiny_config(devkit, *overrides), run_dir)
