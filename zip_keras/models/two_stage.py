"""Two-stage detector: the proposal network, and a second stage that classifies its proposals. Paper section 4."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from zip_keras.config import DetectorConfig, PostprocessConfig, from_dict, to_dict
from zip_keras.errors import UserError
from zip_keras.layers.convolution import trained_batch_norm
from zip_keras.layers.registry import serializable
from zip_keras.layers.roi_head import RoIHead
from zip_keras.levels import STRIDES
from zip_keras.losses.roi import decode_classes, roi_losses
from zip_keras.models.boosting import TreeEnsemble
from zip_keras.models.detections import ClassifiedBoxes, best_pairs
from zip_keras.models.postprocess import RankedBoxes, postprocess
from zip_keras.models.proposal_network import ProposalNetwork
from zip_keras.models.zoom import MirrorReport
from zip_keras.ops.anchors import level_of_boxes
from zip_keras.ops.nms import ABSENT
from zip_keras.targets.rois import sample_rois


@serializable
class TwoStageNetwork(keras.Model):
    """Proposal network, and an RoI head that classifies and refines its proposals.

    Input: RGB images `[B, H, W, 3]`, 0..255, any size. Output: that of `ProposalNetwork`, and `"maps"`: Y1, Y2 and F3
    of the levels with anchors. `candidates` and `image_losses` run the second stage. Each RoI is pooled from the map of
    the level that proposed it (see `RoIHead`). The second loss has no gradient to the boxes of the proposals.

    `model.compile(optimizer)` and `model.fit(batches)` train it. A batch is `(images, targets)` as in
    docs/ARCHITECTURE.md.

    Args:
        config, targets, loss: see `ProposalNetwork`.
        detector: the second stage, `DetectorConfig` or its dict.
        proposals: ranking of the proposals, `PostprocessConfig` or its dict; `max_proposals` of them become RoIs.
        class_names: names of the C classes.
    """

    def __init__(
        self,
        config=None,
        targets=None,
        loss=None,
        detector=None,
        proposals=None,
        class_names: Sequence[str] = ("object",),
        **kwargs,
    ):
        super().__init__(**{"autocast": False, **kwargs})
        self.detector_config: DetectorConfig = _as(DetectorConfig, detector)
        self.proposal_config: PostprocessConfig = _as(PostprocessConfig, proposals)
        self.class_names = tuple(class_names)
        if not self.class_names:
            raise UserError("a detector needs at least one class; class_names is empty")
        self.proposal_network = ProposalNetwork(config, targets, loss, name="proposal_network")
        network, head = self.proposal_network, self.detector_config.head
        self.features = keras.Model(
            network.input, {**network.output, "maps": network.merged_maps}, name="proposals_and_maps"
        )
        normalise = head.normalisation
        self.roi_head = RoIHead(
            len(self.class_names),
            network.levels,
            [STRIDES[level - 1] for level in network.levels],
            pooling=head.pooling,
            pool_size=head.pool_size,
            width=head.width,
            blocks=head.blocks,
            normalise=normalise if normalise == "group" else trained_batch_norm(network.config.batch_norm),
            name="roi_head",
        )
        self.roi_head.build([tuple(features.shape) for features in network.merged_maps])
        if self.detector_config.train == "second":
            network.trainable = False
        self.built = True

    @property
    def config(self):
        """The `ModelConfig` of the proposal network."""
        return self.proposal_network.config

    @property
    def levels(self) -> tuple[int, ...]:
        return self.proposal_network.levels

    @property
    def backbone_layers(self):
        return self.proposal_network.backbone_layers

    @property
    def backbone_paths(self) -> frozenset[str]:
        return self.proposal_network.backbone_paths

    def copy_mirror_weights(self) -> MirrorReport:
        """See `ProposalNetwork.copy_mirror_weights`."""
        return self.proposal_network.copy_mirror_weights()

    def call(self, images, training=False):
        return self.features(images, training=training and self._trains_both)

    def compute_output_spec(self, images, training=False):
        return self.features.compute_output_spec(images)

    @property
    def _trains_both(self) -> bool:
        return self.detector_config.train == "both"

    def proposals(self, outputs, height, width, config: PostprocessConfig | None = None) -> RankedBoxes:
        """The RoIs of images of `height` x `width` pixels from the network's outputs, without gradient.

        Args:
            config: ranking to use instead of the network's own.
        """
        config = config or self.proposal_config
        network = self.proposal_network
        outputs = keras.tree.map_structure(ops.stop_gradient, {k: v for k, v in outputs.items() if k != "maps"})
        boxes, scores = network.scored_boxes(
            outputs, height, width, best=config.pre_nms_top_n, quality_exponent=config.quality_exponent
        )
        height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
        return postprocess(boxes, scores, height, width, config, network.levels)

    def given_proposals(self, boxes, levels) -> RankedBoxes:
        """Convert boxes of another method to RoIs.

        A box whose level is not one of the network's (0: unknown) is assigned to the level whose anchors are nearest to
        it in size, see `zip_keras.ops.anchors.level_of_boxes`.

        Args:
            boxes: float `[B, n, 4]`, pixels of the network's input; boxes without area are not valid.
            levels: int32 `[B, n]`.
        """
        boxes, levels = ops.cast(boxes, "float32"), ops.cast(levels, "int32")
        valid = ops.all(boxes[..., 2:] > boxes[..., :2], axis=-1)
        known = ops.any(levels[..., None] == ops.convert_to_tensor(self.levels, "int32"), axis=-1)
        levels = ops.where(known, levels, level_of_boxes(boxes, self.config.anchors))
        return RankedBoxes(boxes, ops.cast(valid, "float32"), valid, levels)

    def candidates(
        self,
        outputs,
        height,
        width,
        count: int,
        proposals: PostprocessConfig | None = None,
        given: RankedBoxes | None = None,
        ensemble: TreeEnsemble | None = None,
    ):
        """The best `count` pairs of box and class of each image, `ClassifiedBoxes` in pixels, unclipped.

        Args:
            outputs: the network's outputs for images of `height` x `width` pixels.
            proposals: ranking of the proposals to use instead of the network's own.
            given: RoIs that replace the network's proposals, see `given_proposals`.
            ensemble: replaces the class scores of the second stage.
        """
        found = self.proposals(outputs, height, width, proposals) if given is None else given
        rois = (outputs["maps"], found.boxes, found.levels)
        if ensemble is None:
            logits, deltas = self.roi_head(*rois, training=False)
            scores = ops.softmax(logits, axis=-1)
        else:
            logits, deltas, features = self.roi_head(*rois, training=False, with_features=True)
            scores = ensemble.class_scores(features, ops.softmax(logits, axis=-1))
        scores = ops.where(found.valid[..., None], scores[..., 1:], ABSENT)  # [B, R, C]
        scores, rois, classes = best_pairs(scores, count)
        of_roi = ops.take_along_axis(decode_classes(deltas, found.boxes), rois[..., None, None], axis=1)  # [B, K, C, 4]
        boxes = ops.squeeze(ops.take_along_axis(of_roi, classes[..., None, None], axis=2), axis=2)
        return ClassifiedBoxes(boxes, scores, classes, ops.take_along_axis(found.levels, rois, axis=1))

    def image_losses(self, images, targets, outputs, training: bool = True) -> dict[str, object]:
        """Compute the losses of every image, without averaging over images.

        Args:
            images, targets, outputs: see `ProposalNetwork.image_losses`. If the targets hold `proposals` float32
                `[B, n, 4]` and `proposal_levels` int32 `[B, n]`, these are the RoIs, see `given_proposals`.
            training: whether the second stage's batch normalisation uses the statistics of the batch.

        Returns:
            float32 `[B]` each: the losses of the proposal network (absent if only the second stage is trained),
            "roi_classification", "roi_box", "roi_positives" (RoIs with a class), and "loss", the sum over the trained
            stages.
        """
        _, height, width, _ = ops.shape(images)
        result = self.proposal_network.image_losses(images, targets, outputs) if self._trains_both else {}
        found = self.training_proposals(targets, outputs, height, width)
        config = self.detector_config
        sample = sample_rois(found.boxes, found.valid, found.levels, targets, config.targets, self.config.anchors)
        maps = outputs["maps"] if self._trains_both else keras.tree.map_structure(ops.stop_gradient, outputs["maps"])
        logits, deltas = self.roi_head(maps, sample.boxes, sample.levels, training=training)
        classification, box = roi_losses(logits, deltas, sample, config.loss)
        result["roi_classification"], result["roi_box"] = classification, box
        result["roi_positives"] = ops.sum(ops.cast(sample.classes > 0, "float32") * sample.used, axis=1)
        result["loss"] = result.get("loss", 0.0) + config.loss.weight * (classification + box)
        return result

    def training_proposals(self, targets, outputs, height, width) -> RankedBoxes:
        """The proposals that `sample_rois` draws from: those in `targets`, or else the network's (see `image_losses`).

        The network's are in score order: multi-threshold NMS and box voting are only used in prediction.
        """
        if "proposals" in targets:
            return self.given_proposals(targets["proposals"], targets["proposal_levels"])
        config, count = self.proposal_config, self.detector_config.targets.proposals
        many = dataclasses.replace(
            config, thresholds=config.thresholds[:1], counts=(count,), max_proposals=count, vote_iou=None
        )
        return self.proposals(outputs, height, width, many)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean of `image_losses` over the images of the batch. Keras calls it in `fit` and `evaluate`.

        Raises:
            UserError: the backend is JAX, which would lose the statistics of the second stage's batch normalisation.
        """
        if training and keras.backend.backend() == "jax" and self.roi_head.normalise not in ("group", "frozen"):
            raise UserError(
                "fit on the JAX backend does not keep the statistics of the RoI head's batch normalisation; set "
                "detector.head.normalisation=group, or train with TensorFlow or PyTorch"
            )
        return ops.mean(self.image_losses(x, y, y_pred, training=training)["loss"])

    def get_config(self):
        network = self.proposal_network.get_config()
        return {
            "name": self.name,
            **{name: network[name] for name in ("config", "targets", "loss")},
            "detector": to_dict(self.detector_config),
            "proposals": to_dict(self.proposal_config),
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _as(cls, value):
    if value is None:
        return cls()
    return value if isinstance(value, cls) else from_dict(cls, value)
