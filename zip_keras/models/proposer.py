"""Images in, proposals out: resizing, the network, decoding and suppression in one Keras model."""

import keras
from keras import ops

from zip_keras import suppression
from zip_keras.config import SuppressionConfig, from_dict, to_dict
from zip_keras.layers.registry import serializable
from zip_keras.layers.resizing import ShortSideResizing
from zip_keras.models.proposal_network import ProposalNetwork


@serializable
class Proposer(keras.Model):
    """Proposals of images, in the pixels of the images given.

    Input: RGB images `[B, H, W, 3]`, uint8 or float 0..255, any size, all of one size. Output: `{"boxes" [B, n, 4]
    float32 (y1, x1, y2, x2), "scores" [B, n] float32 decreasing, "valid" [B, n] bool}`, n =
    `suppression.max_proposals`; places beyond the image's proposals are zero and not valid.

    This is the model that is exported, loaded with `keras.models.load_model` and served.

    Args:
        network: a `ProposalNetwork`.
        suppression: `SuppressionConfig` or its dict.
        short_side, long_side: the size at which the network looks, pixels; `short_side=None` keeps the image's.
        passes: how often boxes are fed back and refined; None: as often as in training. `UserError` where the network
            has not learnt it.
    """

    def __init__(
        self,
        network,
        suppression=None,
        short_side: int | None = 600,
        long_side: int = 1000,
        passes: int | None = None,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, **kwargs})  # images and boxes stay float32 whatever the network does
        self.network = network
        network.check_passes(passes)
        self.passes = passes
        self.suppression = _suppression_config(suppression)
        self.resizing = ShortSideResizing(short_side, long_side, dtype="float32", name="resizing")
        self.built = True  # the network is functional, so all variables are there

    def call(self, images, training=False):
        resized = self.resizing(images)
        result = self.find(resized)
        _, height, width, _ = ops.shape(images)
        _, small_height, small_width, _ = ops.shape(resized)
        y = ops.cast(height, "float32") / ops.cast(small_height, "float32")
        x = ops.cast(width, "float32") / ops.cast(small_width, "float32")
        boxes = result.boxes * ops.stack([y, x, y, x])
        return {"boxes": boxes, "scores": result.scores, "valid": result.valid}

    def find(self, images) -> suppression.Proposals:
        """Proposals of float32 images `[B, H, W, 3]` as the network looks at them, in their own pixels."""
        _, height, width, _ = ops.shape(images)
        outputs = self.network(images, training=False)
        boxes, scores = self.network.scored_boxes(outputs, height, width, self.passes)
        height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
        return suppression.propose(boxes, scores, height, width, self.suppression, self.network.levels)

    def compute_output_spec(self, images, training=False):
        batch, count = images.shape[0], min(self.suppression.max_proposals, self.suppression.counts[0])
        return {
            "boxes": keras.KerasTensor((batch, count, 4), "float32"),
            "scores": keras.KerasTensor((batch, count), "float32"),
            "valid": keras.KerasTensor((batch, count), "bool"),
        }

    def get_config(self):
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network),
            "suppression": to_dict(self.suppression),
            "short_side": self.resizing.short_side,
            "long_side": self.resizing.long_side,
            "passes": self.passes,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        network = keras.saving.deserialize_keras_object(config.pop("network"), custom_objects=custom_objects)
        if not isinstance(network, ProposalNetwork):
            raise ValueError(f"a Proposer's network must be a ProposalNetwork, not {type(network).__name__}")
        return cls(network, **config)


def _suppression_config(value) -> SuppressionConfig:
    if value is None:
        return SuppressionConfig()
    return value if isinstance(value, SuppressionConfig) else from_dict(SuppressionConfig, value)
