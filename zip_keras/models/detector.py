"""Keras model from images to detections: resizing, network and NMS within each class."""

from collections.abc import Sequence

import keras
from keras import ops

from zip_keras.config import DetectionConfig, PostprocessConfig, from_dict, to_dict
from zip_keras.errors import UserError
from zip_keras.layers.registry import serializable
from zip_keras.models.boosting import TreeEnsemble
from zip_keras.models.detections import ClassifiedBoxes, rank_detections
from zip_keras.models.image_model import ImageModel
from zip_keras.models.one_stage import OneStageNetwork
from zip_keras.models.two_stage import TwoStageNetwork
from zip_keras.ops import boxes as box_ops


@serializable
class Detector(ImageModel):
    """Detect objects and their classes, in pixels of the input images.

    Input: RGB images `[B, H, W, 3]`, uint8 or float 0..255, any size, all of one size. Output: `{"boxes" [B, n, 4]
    float32 (y1, x1, y2, x2), "scores" [B, n] float32 decreasing, "classes" [B, n] int32 (numbers in `class_names`),
    "valid" [B, n] bool, "levels" [B, n] int32}`, n = `postprocess_config.max_detections`. Unused places are zero and
    not valid.

    With several short sides (multi-scale testing) or `flip`, NMS runs on the boxes of all runs together.

    This is the model that is exported, loaded with `keras.models.load_model` and served.

    Args:
        network: a `TwoStageNetwork` or a `OneStageNetwork`.
        postprocess: `DetectionConfig` or its dict; the network's own by default.
        proposals: `PostprocessConfig` or its dict, which ranks the proposals in place of the network's own; two stages
            only.
        short_sides, long_side, flip: see `Proposer`.
        ensemble: a `TreeEnsemble` whose scores replace those of the second stage; two stages only.
    """

    networks = (TwoStageNetwork, OneStageNetwork)
    part_names = ("network", "ensemble")

    def __init__(
        self,
        network,
        postprocess=None,
        proposals=None,
        short_sides: int | Sequence[int | None] | None = 600,
        long_side: int = 1000,
        flip: bool = False,
        ensemble: TreeEnsemble | None = None,
        **kwargs,
    ):
        super().__init__(network, short_sides, long_side, flip, **kwargs)
        self.postprocess_config: DetectionConfig = (
            network.detector_config.postprocess if postprocess is None else _as(DetectionConfig, postprocess)
        )
        self.proposal_config = None if proposals is None else _as(PostprocessConfig, proposals)
        if self.proposal_config is not None and not isinstance(network, TwoStageNetwork):
            raise ValueError("proposals are ranked by a network of two stages alone")
        if ensemble is not None:
            _check_ensemble(ensemble, network)
        self.ensemble = ensemble

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names, in the order of the class numbers."""
        return self.network.class_names

    def call(self, images, training=False):
        return self._detect(images)

    def classify(self, images, proposals, levels=None):
        """Classify proposals of another method. The result is the dictionary of a call.

        Args:
            images: as in a call.
            proposals: float `[B, R, 4]`, pixels of the images; clipped to the image. Boxes without area are ignored.
            levels: int32 `[B, R]`, the level whose map each box is pooled from. With 0 or None, the size of the box at
                each scale decides, see `TwoStageNetwork.given_proposals`.

        Raises:
            UserError: the detector has one stage, which takes no proposals.
        """
        if not isinstance(self.network, TwoStageNetwork):
            raise UserError("a detector of one stage takes no proposals; train one with detector.kind=two_stage")
        proposals = ops.cast(proposals, "float32")
        levels = ops.zeros_like(proposals[..., 0], dtype="int32") if levels is None else levels
        return self._detect(images, (proposals, levels))

    def _detect(self, images, given=None):
        self.check_images(images)
        _, height, width, _ = ops.shape(images)
        inputs = self.network_inputs(images)
        return self.answer([self.network(x, training=False) for x in inputs], inputs, height, width, given)

    def answer(self, outputs, inputs, height, width, given=None) -> dict:
        """Turn the network's outputs into the dictionary of a call; see `Proposer.postprocess` for the arguments."""
        height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
        if given is not None:
            given = (box_ops.clip(given[0], height, width), given[1])
        runs = []
        for i, run in enumerate(zip(outputs, inputs, strict=True)):
            if self.flip and i % 2:
                flipped = None if given is None else (box_ops.mirrored(given[0], width), given[1])
                mirrored = self._candidates(*run, height, width, flipped)
                runs.append(mirrored._replace(boxes=box_ops.mirrored(mirrored.boxes, width)))
            else:
                runs.append(self._candidates(*run, height, width, given))
        candidates = ClassifiedBoxes(*(ops.concatenate(parts, axis=1) for parts in zip(*runs, strict=True)))
        found = rank_detections(candidates, height, width, len(self.class_names), self.postprocess_config)
        return found._asdict()

    def _candidates(self, outputs, resized, height, width, given) -> ClassifiedBoxes:
        """The candidates of one scale. They and the `given` boxes are in pixels of the image."""
        _, resized_height, resized_width, _ = ops.shape(resized)
        y, x = height / ops.cast(resized_height, "float32"), width / ops.cast(resized_width, "float32")
        scale = ops.stack([y, x, y, x])
        options = {} if self.proposal_config is None else {"proposals": self.proposal_config}
        if given is not None:
            options["given"] = self.network.given_proposals(given[0] / scale, given[1])
        if self.ensemble is not None:
            options["ensemble"] = self.ensemble
        found = self.network.candidates(
            outputs, resized_height, resized_width, self.postprocess_config.pre_nms_top_n, **options
        )
        return found._replace(boxes=found.boxes * scale)

    def compute_output_spec(self, images, training=False):
        batch, count = images.shape[0], self.postprocess_config.max_detections
        return {
            "boxes": keras.KerasTensor((batch, count, 4), "float32"),
            "scores": keras.KerasTensor((batch, count), "float32"),
            "classes": keras.KerasTensor((batch, count), "int32"),
            "valid": keras.KerasTensor((batch, count), "bool"),
            "levels": keras.KerasTensor((batch, count), "int32"),
        }

    def _options(self):
        return {
            **super()._options(),
            "postprocess": to_dict(self.postprocess_config),
            "proposals": None if self.proposal_config is None else to_dict(self.proposal_config),
        }


def _check_ensemble(ensemble, network) -> None:
    if not isinstance(network, TwoStageNetwork) or not isinstance(ensemble, TreeEnsemble):
        raise ValueError("an ensemble must be a TreeEnsemble, and its network one of two stages")
    wanted = (network.roi_head.num_features, len(network.class_names) + 1)
    if (ensemble.num_features, ensemble.num_classes) != wanted:
        raise ValueError(
            f"the ensemble takes {ensemble.num_features} features and scores {ensemble.num_classes} classes; this "
            f"network has {wanted[0]} and, with background, {wanted[1]}"
        )


def _as(cls, value):
    return value if isinstance(value, cls) else from_dict(cls, value)
