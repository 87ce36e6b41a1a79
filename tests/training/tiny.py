"""A run so small that a test can afford it.

`python -m tests.training.tiny DEVKIT RUN_DIR [key=value ...] [-- RUN_DIR [key=value ...]]` does runs one after the
other in a process of its own.
"""

import itertools
import sys

import keras

from zip_keras.backbones import BACKBONES, Backbone, BackboneMaps
from zip_keras.backbones.inception_bn import ROWS
from zip_keras.config import AnchorConfig, ModelConfig
from zip_keras.config.files import read_config
from zip_keras.layers.convolution import ConvNorm
from zip_keras.training.run import train


def build(image, config):
    """Three maps at strides 8, 16, 32 from five convolutions."""
    layers, maps, x = {}, [], image
    for number, width in enumerate((8, 8, 16, 24, 32), start=1):
        name = f"c{number}"
        layers[name] = ConvNorm(width, 3, 2, batch_norm=config.batch_norm, name=f"backbone_{name}")
        x = layers[name](x)
        if number > 2:
            maps.append(x)
    return BackboneMaps(tuple(maps), layers)


BACKBONES["tiny"] = Backbone((128.0,) * 3, (64.0,) * 3, False, build, ROWS, mirror_weights=False)

TINY_MODEL = ModelConfig(
    backbone="tiny",
    width=0.125,
    zoom_in="released",
    head_channels=16,
    anchors=AnchorConfig(scales=((8.0, 12.0), (24.0, 32.0), (48.0, 64.0))),
)

OVERRIDES = [
    "data.resize=fixed",
    "data.short_side=64",
    "data.long_side=128",
    "data.bucket_multiple=32",
    "model.backbone=tiny",
    "model.width=0.125",
    "model.zoom_in=released",
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


if __name__ == "__main__":
    devkit, *rest = sys.argv[1:]
    for _, run in itertools.groupby(rest, lambda word: word != "--"):
        run_dir, *overrides = run
        if run_dir != "--":
            train(tiny_config(devkit, *overrides), run_dir)
