"""Extract map attention for an image: mu and the maps of a level before and after the decision.

Paper section 3.2 and Figure 4: X(m) = concat[F(m), H(m)], Y(m)_j = mu(m)_j * X(m)_j.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from zip_keras.analysis.attention.statistics import LevelAttention
from zip_keras.errors import UserError
from zip_keras.models.detector import Detector
from zip_keras.models.one_stage import OneStageNetwork
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.proposer import Proposer
from zip_keras.models.two_stage import TwoStageNetwork

LEVELS = {1: 8, 2: 16}  # levels with a decision and their strides; mu is computed from level 3


Attend = Callable[[np.ndarray], dict[int, LevelAttention]]
"""Function from an image, uint8 `[H, W, 3]` RGB, to the attention of each level. Maps exclude the network's padding."""


def attention_network(network: ProposalNetwork | OneStageNetwork, name: str = "the model") -> keras.Model:
    """The part of a network that maps images to `{level: (F, H, mu, Y)}`.

    Args:
        network: a network with merge "mad".
        name: name of the model in messages.

    Raises:
        UserError: the network has no map attention, or has one mu per position instead of per map (`spatial_mad`).
    """
    config = network.config
    if config.zoom_in == "none":
        raise UserError(
            f"{name}: has no zoom-in stream (model.zoom_in=none), so no map attention to show; choose a model trained "
            "with model.merge=mad"
        )
    if config.merge == "spatial_mad":
        raise UserError(
            f"{name}: model.merge=spatial_mad decides for every place of a map, so no mu stands for a whole map and "
            "maps have no order; choose a model trained with model.merge=mad"
        )
    if config.merge != "mad":
        raise UserError(
            f"{name}: has no map attention: it merges F and H by model.merge={config.merge}; choose a model trained "
            "with model.merge=mad"
        )
    outputs = {}
    for level in LEVELS:
        zoom_out, zoom_in = network.get_layer(f"merge_{level}_concatenate").input
        mu = network.get_layer(f"merge_{level}_decision").output
        outputs[str(level)] = (zoom_out, zoom_in, mu, network.get_layer(f"merge_{level}").output)
    return keras.Model(network.inputs[0], outputs, name="attention")


def compile_attention(model: Proposer | Detector, name: str = "the model") -> Attend:
    """Compile a function from an image to the model's map attention. Images are resized as in inference.

    The function is traced once for all image sizes.

    Raises:
        UserError: see `attention_network`.
    """
    own = model.network
    network = attention_network(own.proposal_network if isinstance(own, TwoStageNetwork) else own, name)

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)], autograph=False)
    def traced(images):
        resized = model.resizings[0](images)
        return network(resized, training=False), tf.shape(resized)[1:3]

    def attend(image: np.ndarray) -> dict[int, LevelAttention]:
        outputs, size = traced(tf.convert_to_tensor(image[None]))
        height, width = np.asarray(size)
        result = {}
        for level, stride in LEVELS.items():
            zoom_out, zoom_in, mu, merged = (np.asarray(tf.cast(x[0], tf.float32)) for x in outputs[str(level)])
            rows, columns = -(-height // stride), -(-width // stride)  # cells that overlap the image
            before = np.concatenate([zoom_out, zoom_in], axis=-1)[:rows, :columns]
            result[level] = LevelAttention(before, mu.reshape(-1), merged[:rows, :columns])
        return result

    return attend
