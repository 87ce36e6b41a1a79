"""Any network of keras.applications as a backbone, given the three layers whose outputs are F1, F2 and F3.

`model.backbone=keras:MobileNetV2:block_6_expand_relu,block_13_expand_relu,out_relu`. An optional fourth part
replaces the family's own preprocessing of pixels (`FAMILIES`, else "tf"): `keras:VGG16:...:raw`.

The network starts from random weights. Its layers keep their names, so the ImageNet weights of Keras fit: in a new
process, save `keras.applications.MobileNetV2(include_top=False)` as `.keras`, and set `train.weights` to that file.
`model.width` applies only to the zoom-in stream, which mirrors the blocks of Inception-BN.
"""

import difflib
import functools
import re

import keras

from zip_keras.backbones.base import Backbone, BackboneMaps
from zip_keras.backbones.inception_bn import ROWS as INCEPTION_ROWS
from zip_keras.config import ModelConfig
from zip_keras.errors import UserError

PREFIX = "keras:"
# The modes of keras.applications' preprocess_input: mean, scale (both RGB), whether the channels are reversed.
MODES = {
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0), True),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), False),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "raw": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False),  # the network normalises pixels itself
}
FAMILIES = {r"VGG\d+|ResNet\d+$": "caffe", "DenseNet": "torch", "EfficientNet|ConvNeXt|MobileNetV3": "raw"}
_CHECKED_SIZE = (256, 320)  # a backbone only sees multiples of 32


def application_backbone(spec: str) -> Backbone:
    """Return the backbone of `keras:NETWORK:LAYER,LAYER,LAYER[:MODE]`; `UserError` if a part is wrong.

    The layers are looked up, and their strides checked to be 8, 16 and 32, when the backbone is built.
    """
    network, layers, *mode = [*spec.removeprefix(PREFIX).split(":"), ""][:3] if ":" in spec[len(PREFIX) :] else ("", "")
    taps = tuple(layers.split(","))
    if len(taps) != 3 or not all(taps) or spec.count(":") > 3:
        raise UserError(
            f"backbone {spec!r}: write {PREFIX}NETWORK:LAYER,LAYER,LAYER with layers of stride 8, 16 and 32"
        )
    networks = [n for n in dir(keras.applications) if n[0].isupper()]
    if network not in networks:
        raise UserError(f"backbone {spec!r}: keras.applications has no {network!r}{_nearest(network, networks)}")
    if re.match(r"EfficientNetB\d", network):
        raise UserError(
            f"backbone {spec!r}: its ImageNet weights belong to another network (one layer more for its pixels) than "
            f"the one that Keras builds without them; take an EfficientNetV2, or efficientnet_lite0"
        )
    family = next((m for pattern, m in FAMILIES.items() if re.match(pattern, network)), "tf")
    mode_name = (mode and mode[0]) or family
    if mode_name not in MODES:
        raise UserError(f"backbone {spec!r}: pixels are prepared by one of {', '.join(MODES)}, not {mode_name!r}")
    mean, scale, bgr = MODES[mode_name]
    build = functools.partial(_build, spec=spec, network=network, taps=taps)
    return Backbone(mean, scale, bgr, build, mirror=INCEPTION_ROWS, mirror_weights=False)


def _build(image, config: ModelConfig, *, spec: str, network: str, taps: tuple[str, ...]) -> BackboneMaps:
    whole = getattr(keras.applications, network)(include_top=False, weights=None)
    names = _names_of_a_fresh_process(whole)
    layers = {names[layer.name]: layer for layer in whole.layers}
    for tap in taps:
        if tap not in layers:
            raise UserError(f"backbone {spec!r}: {network} has no layer {tap!r}{_nearest(tap, list(layers))}")
    part = keras.Model(whole.input, [layers[tap].output for tap in taps])
    for tap, stride, shape in zip(taps, (8, 16, 32), part.compute_output_shape((1, *_CHECKED_SIZE, 3)), strict=True):
        wanted = tuple(side // stride for side in _CHECKED_SIZE)
        if tuple(shape[1:3]) != wanted:
            raise UserError(
                f"backbone {spec!r}: layer {tap!r} must have stride {stride}, so {wanted[0]} x {wanted[1]} cells for "
                f"an image of {_CHECKED_SIZE[0]} x {_CHECKED_SIZE[1]}, but its output is {tuple(shape[1:])}"
            )

    def copy(layer):
        if not isinstance(layer, keras.layers.Layer):  # a bare operation, such as the sum in a ConvNeXt
            return layer
        values = {**layer.get_config(), "name": names[layer.name]}
        if isinstance(layer, keras.layers.BatchNormalization):
            synchronized = config.batch_norm == "synchronized" and keras.backend.backend() == "tensorflow"
            values |= {"trainable": config.batch_norm != "frozen", "synchronized": synchronized}
        return type(layer).from_config(values)

    copied = keras.models.clone_model(part, clone_function=copy)
    return BackboneMaps(tuple(copied(image)), {layer.name: layer for layer in copied.layers if layer.weights})


def _names_of_a_fresh_process(network: keras.Model) -> dict[str, str]:
    """Names as in a new process by current name: Keras numbers unnamed layers over the whole process ("conv2d_93")."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for layer in network.layers:
        base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer.name).groups()  # type: ignore[union-attr]
        if base.replace("_", "") == type(layer).__name__.lower():
            numbered.setdefault(base, []).append((int(number or 0), layer.name))
    names = {layer.name: layer.name for layer in network.layers}
    for base, layers in numbered.items():
        names |= {name: f"{base}_{i}" if i else base for i, (_, name) in enumerate(sorted(layers))}
    return names


def _nearest(name: str, names: list[str]) -> str:
    return "".join(f"; did you mean {near!r}?" for near in difflib.get_close_matches(name, names, 1))
