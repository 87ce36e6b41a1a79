"""Keras model from images to proposals: resizing, network, decoding and NMS."""

from collections.abc import Sequence

import keras
from keras import ops

from zip_keras.config import PostprocessConfig, from_dict, to_dict
from zip_keras.layers.registry import serializable
from zip_keras.models.image_model import ImageModel
from zip_keras.models.postprocess import Candidates, RankedBoxes, level_candidates, postprocess
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.ops import boxes as box_ops


@serializable
class Proposer(ImageModel):
    """Propose boxes of objects, in pixels of the input images.

    Input: RGB images `[B, H, W, 3]`, uint8 or float 0..255, any size, all of one size. Output: `{"boxes" [B, n, 4]
    float32 (y1, x1, y2, x2), "scores" [B, n] float32 decreasing, "valid" [B, n] bool, "levels" [B, n] int32}`, with n =
    `postprocess_config.output_size`. "levels" holds the level that found the box, 1, 2 or 3. Unused places are zero and
    not valid.

    With several short sides (multi-scale testing) the network runs once per scale. NMS runs within every level of every
    scale, then all boxes are merged (paper section 5). With `flip` the network also runs on the mirrored image, and NMS
    runs on the boxes that a level finds in both images.

    This is the model that is exported, loaded with `keras.models.load_model` and served.

    Args:
        network: a `ProposalNetwork`.
        postprocess: `PostprocessConfig` or its dict; `postprocess_config` afterwards.
        short_sides: scale or scales, as the short side of the image in pixels; None keeps the size.
        long_side: maximum of the longer side at every scale, pixels.
        flip: flip test-time augmentation.
        calibration: record of `zip-keras calibrate`, see `inference/calibration.py`; saved with the model.
        refinement_steps: number of refinement steps; None: as many as in training. `UserError` if the network was
            trained without refinement.
    """

    networks = (ProposalNetwork,)

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
        super().__init__(network, short_sides, long_side, flip, **kwargs)
        network.check_refinement_steps(refinement_steps)
        self.refinement_steps, self.calibration = refinement_steps, calibration
        self.postprocess_config = _postprocess_config(postprocess)

    def call(self, images, training=False):
        self.check_images(images)
        return self.answer(*self._run(images))

    def answer(self, outputs, inputs, height, width) -> dict:
        """The result of `postprocess` as the dictionary of a call."""
        found = self.postprocess(outputs, inputs, height, width)
        return {"boxes": found.boxes, "scores": found.scores, "valid": found.valid, "levels": found.levels}

    def level_candidates(self, images) -> Candidates:
        """The boxes of every level and scale before `postprocess.merge`, for images as in a call."""
        return level_candidates(*self._scored(*self._run(images)))

    def postprocess(self, outputs, inputs, height, width) -> RankedBoxes:
        """Decode the network's outputs and rank the boxes.

        Args:
            outputs: the network's outputs for each of `inputs`.
            inputs: result of `network_inputs`; only the sizes are used.
            height, width: size of the images before resizing, pixels.
        """
        return postprocess(*self._scored(outputs, inputs, height, width))

    def _run(self, images):
        """Run the network and return the arguments of `postprocess`."""
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
        """The best boxes `[B, q, 4]` of every level, in pixels of the image, and their scores `[B, q]`."""
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

    def _options(self):
        return {
            **super()._options(),
            "postprocess": to_dict(self.postprocess_config),
            "calibration": self.calibration,
            "refinement_steps": self.refinement_steps,
        }


def _joined(own, mirrored, width):
    """Join the boxes and scores of every level with those of the mirror image, whose boxes are mirrored back."""
    boxes, scores = [], []
    for own_boxes, own_scores, mirrored_boxes, mirrored_scores in zip(*own, *mirrored, strict=True):
        boxes.append(ops.concatenate([own_boxes, box_ops.mirrored(mirrored_boxes, width)], axis=1))
        scores.append(ops.concatenate([own_scores, mirrored_scores], axis=1))
    return boxes, scores


def _postprocess_config(value) -> PostprocessConfig:
    if value is None:
        return PostprocessConfig()
    return value if isinstance(value, PostprocessConfig) else from_dict(PostprocessConfig, value)
