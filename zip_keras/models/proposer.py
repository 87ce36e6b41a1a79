"""Images in, proposals out: resizing, the network, decoding and NMS in one Keras model."""

from collections.abc import Sequence

import keras
from keras import ops

from zip_keras.config import PostprocessConfig, from_dict, to_dict
from zip_keras.errors import UserError
from zip_keras.layers.registry import serializable
from zip_keras.layers.resizing import ShortSideResizing
from zip_keras.models.postprocess import Candidates, RankedBoxes, level_candidates, postprocess
from zip_keras.models.proposal_network import ProposalNetwork


@serializable
class Proposer(keras.Model):
    """Proposals of images, in the pixels of the images given.

    Input: RGB images `[B, H, W, 3]`, uint8 or float 0..255, any size, all of one size. Output: `{"boxes" [B, n, 4]
    float32 (y1, x1, y2, x2), "scores" [B, n] float32 decreasing, "valid" [B, n] bool, "levels" [B, n] int32}`, with n =
    `postprocess_config.output_size`. A level of 1, 2 or 3 says which level found the box. Places beyond the image's
    proposals are zero and not valid.

    With several short sides (multi-scale testing) the network runs once at each; NMS runs within every level of every
    scale, then all are merged (paper section 5). With `flip` it also runs on the mirrored image, and the boxes that a
    level finds in both go through NMS together.

    This is the model that is exported, loaded with `keras.models.load_model` and served.

    Args:
        network: a `ProposalNetwork`.
        postprocess: `PostprocessConfig` or its dict; `postprocess_config` afterwards.
        short_sides: the scale or scales of the image, pixels of its short side; None keeps its size.
        long_side: cap of the longer side at every scale, pixels.
        flip: flip test-time augmentation.
        calibration: what `zip-keras calibrate` did, see `inference/calibration.py`; kept with the model.
        refinement_steps: how often boxes are fed back and refined; None: as often as in training. `UserError` if the
            network was trained without refinement.
    """

    def __init__(
        self,
        network,
        postprocess=None,
        short_sides: int | Sequence[int | None] | None = 600,
        long_side: int = 1000,
        flip: bool = False,
        calibration: dict | None = None,
        refinement_steps: int | None = None,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, **kwargs})  # images and boxes stay float32 whatever the network does
        self.network = network
        network.check_refinement_steps(refinement_steps)
        self.refinement_steps = refinement_steps
        self.postprocess_config = _postprocess_config(postprocess)
        self.short_sides = tuple(short_sides) if isinstance(short_sides, Sequence) else (short_sides,)
        self.long_side, self.flip, self.calibration = long_side, flip, calibration
        self.resizings = [
            ShortSideResizing(side, long_side, dtype="float32", name="resizing" if not i else f"resizing_{i}")
            for i, side in enumerate(self.short_sides)
        ]
        self.built = True  # the network is functional, so all variables are there

    def call(self, images, training=False):
        _check_images(images)
        return self.answer(*self._run(images))

    def answer(self, outputs, inputs, height, width) -> dict:
        """`postprocess` as the dictionary that a call returns."""
        found = self.postprocess(outputs, inputs, height, width)
        return {"boxes": found.boxes, "scores": found.scores, "valid": found.valid, "levels": found.levels}

    def level_candidates(self, images) -> Candidates:
        """The boxes of every level and scale before they are merged by `postprocess.merge`, for images as in a call."""
        return level_candidates(*self._scored(*self._run(images)))

    def network_inputs(self, images) -> list:
        """The images at every scale, with `flip` each followed by its mirror image: float32 `[B, H', W', 3]`."""
        images = ops.cast(images, "float32")
        resized = [resizing(images) for resizing in self.resizings]
        return [x for own in resized for x in ((own, ops.flip(own, axis=2)) if self.flip else (own,))]

    def postprocess(self, outputs, inputs, height, width) -> RankedBoxes:
        """The ranked list: everything that follows the network.

        Args:
            outputs: the network's, for each of `inputs`.
            inputs: what `network_inputs` returns; only the sizes are used.
            height, width: of the images before they were resized, pixels.
        """
        return postprocess(*self._scored(outputs, inputs, height, width))

    def _run(self, images):
        """The arguments of `postprocess`."""
        _, height, width, _ = ops.shape(images)
        inputs = self.network_inputs(images)
        return [self.network(x, training=False) for x in inputs], inputs, height, width

    def _scored(self, outputs, inputs, height, width):
        """The arguments of `postprocess.postprocess`."""
        height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
        runs = [self._boxes(*run, height, width) for run in zip(outputs, inputs, strict=True)]
        if self.flip:
            runs = [_joined(*pair, width) for pair in zip(runs[::2], runs[1::2], strict=True)]
        boxes, scores = ([x for run in runs for x in run[i]] for i in (0, 1))
        return boxes, scores, height, width, self.postprocess_config, self.network.levels * len(self.resizings)

    def _boxes(self, outputs, resized, height, width):
        """Of every level the best boxes `[B, q, 4]` in pixels of the image and their scores `[B, q]`."""
        _, resized_height, resized_width, _ = ops.shape(resized)
        y = height / ops.cast(resized_height, "float32")
        x = width / ops.cast(resized_width, "float32")
        boxes, scores = self.network.scored_boxes(
            outputs,
            resized_height,
            resized_width,
            self.refinement_steps,
            self.postprocess_config.pre_nms_top_n,
            self.postprocess_config.quality_exponent,
        )
        return [of_level * ops.stack([y, x, y, x]) for of_level in boxes], scores

    def compute_output_spec(self, images, training=False):
        batch, count = images.shape[0], self.postprocess_config.output_size
        return {
            "boxes": keras.KerasTensor((batch, count, 4), "float32"),
            "scores": keras.KerasTensor((batch, count), "float32"),
            "valid": keras.KerasTensor((batch, count), "bool"),
            "levels": keras.KerasTensor((batch, count), "int32"),
        }

    def with_options(self, **changes) -> "Proposer":
        """A proposer with the same network and other constructor arguments; those not named stay as they are."""
        return Proposer(self.network, **{**self._options(), **changes})

    def get_config(self):
        return {"network": keras.saving.serialize_keras_object(self.network), **self._options()}

    def _options(self) -> dict:
        """The arguments of the constructor but for the network, as plain values."""
        return {
            "name": self.name,
            "postprocess": to_dict(self.postprocess_config),
            "short_sides": self.short_sides[0] if len(self.short_sides) == 1 else list(self.short_sides),
            "long_side": self.long_side,
            "flip": self.flip,
            "calibration": self.calibration,
            "refinement_steps": self.refinement_steps,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        network = keras.saving.deserialize_keras_object(config.pop("network"), custom_objects=custom_objects)
        if not isinstance(network, ProposalNetwork):
            raise ValueError(f"a Proposer's network must be a ProposalNetwork, not {type(network).__name__}")
        return cls(network, **config)


def _joined(own, mirrored, width):
    """Boxes and scores of every level, those of the image with those of its mirror image, which are turned back."""
    swap = ops.stack([ops.zeros_like(width), width, ops.zeros_like(width), width])
    boxes, scores = [], []
    for own_boxes, own_scores, mirrored_boxes, mirrored_scores in zip(*own, *mirrored, strict=True):
        back = swap + ops.stack([1.0, -1.0, 1.0, -1.0]) * ops.take(mirrored_boxes, (0, 3, 2, 1), axis=-1)
        boxes.append(ops.concatenate([own_boxes, back], axis=1))
        scores.append(ops.concatenate([own_scores, mirrored_scores], axis=1))
    return boxes, scores


def _check_images(images) -> None:
    """Raises `UserError` for a known number of channels other than 3, and for floats in 0..1 where values can be seen.

    A graph that is being traced has no values; there such images are not noticed.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[-1] not in (3, None):
        raise UserError(f"images of shape {list(shape)}: a Proposer takes RGB images [B, H, W, 3]")
    if hasattr(images, "numpy") and "float" in keras.backend.standardize_dtype(images.dtype):
        largest, smallest = float(ops.max(images)), float(ops.min(images))
        if smallest >= 0 and 0 < largest <= 1:
            raise UserError(f"images with values from {smallest:.3g} to {largest:.3g}: a Proposer takes 0..255")


def _postprocess_config(value) -> PostprocessConfig:
    if value is None:
        return PostprocessConfig()
    return value if isinstance(value, PostprocessConfig) else from_dict(PostprocessConfig, value)
