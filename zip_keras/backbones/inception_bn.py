"""Inception-BN, the paper's zoom-out backbone.

Ioffe and Szegedy, *Batch Normalization*, arXiv 1502.03167, with the widths of the public `bninception` definition
(PyPI `pretrainedmodels`), which are the paper's 320 / 608 / 1024 at the taps 3b / 4d / 5b.
"""

import keras

from zip_keras.backbones.base import Backbone, BackboneMaps
from zip_keras.config import ModelConfig
from zip_keras.layers.convolution import ConvNorm, trained_batch_norm
from zip_keras.layers.inception import Inception, InceptionRow, scale_width

# name, 1x1, (reduce, 3x3), (reduce, 3x3, 3x3), pool, projection, stride
ROWS = {
    row.name: row
    for row in (
        InceptionRow("3a", 64, (64, 64), (64, 96, 96), "average", 32),
        InceptionRow("3b", 64, (64, 96), (64, 96, 96), "average", 64),
        InceptionRow("3c", 0, (128, 160), (64, 96, 96), "max", 0, stride=2),
        InceptionRow("4a", 224, (64, 96), (96, 128, 128), "average", 128),
        InceptionRow("4b", 192, (96, 128), (96, 128, 128), "average", 128),
        InceptionRow("4c", 160, (128, 160), (128, 160, 160), "average", 128),
        InceptionRow("4d", 96, (128, 192), (160, 192, 192), "average", 128),
        InceptionRow("4e", 0, (128, 192), (192, 256, 256), "max", 0, stride=2),
        InceptionRow("5a", 352, (192, 320), (160, 224, 224), "average", 128),
        InceptionRow("5b", 352, (192, 320), (192, 224, 224), "max", 128),
    )
}
TAPS = ("3b", "4d", "5b")  # before each down-sampling block


def build(image, config: ModelConfig) -> BackboneMaps:
    """Build the stem (stride 8) and ten inception blocks; see `Backbone.build`.

    With `config.deepen` each of the eight blocks of stride 1 is followed by that many more blocks of its own row
    ("3a_2" after "3a"). The input widths of the original blocks do not change, so pretrained weights fit them. The
    repeats have no pretrained weights, so their batch normalisation is never frozen.
    """
    options = {"batch_norm": config.batch_norm}
    layers: dict[str, keras.layers.Layer] = {}

    def stem(x, name, filters, kernel_size, stride=1):
        width = scale_width(filters, config.width)
        layers[name] = ConvNorm(width, kernel_size, stride, name=f"backbone_{name}", **options)
        return layers[name](x)

    x = stem(image, "conv1", 64, 7, stride=2)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="backbone_pool1")(x)
    x = stem(x, "conv2_reduce", 64, 1)
    x = stem(x, "conv2", 192, 3)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="backbone_pool2")(x)
    maps, neighbours = [], []
    for name, row in ROWS.items():
        scaled = row.scaled(config.width)
        layers[name] = Inception(scaled, pool_border=config.pool_border, name=f"backbone_{name}", **options)
        entered, x = x, layers[name](x)
        for repeat in range(2, 2 + (config.deepen if row.stride == 1 else 0)):
            layers[f"{name}_{repeat}"] = Inception(
                scaled,
                batch_norm=trained_batch_norm(config.batch_norm),
                pool_border=config.pool_border,
                name=f"backbone_{name}_{repeat}",
            )
            entered, x = x, layers[f"{name}_{repeat}"](x)
        if name in TAPS:
            maps.append(x)
            neighbours.append(entered)
    return BackboneMaps(tuple(maps), layers, tuple(neighbours[:2]))


INCEPTION_BN = Backbone(
    mean=(128.0, 117.0, 104.0),
    scale=(1.0, 1.0, 1.0),
    bgr=True,
    build=build,
    mirror=ROWS,
    mirror_weights=True,
    deepens=True,
)
