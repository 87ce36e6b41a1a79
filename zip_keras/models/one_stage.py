"""One-stage detector: the zoom network with class-aware heads, as in SSD. Paper section 5.6."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from zip_keras.config import DetectorConfig, ModelConfig, TargetConfig, from_dict, to_dict
from zip_keras.errors import UserError
from zip_keras.layers.registry import serializable
from zip_keras.layers.rpn_head import RPNHead
from zip_keras.losses.one_stage import LabelledAnchors, dense_losses, sampled_losses
from zip_keras.losses.roi import DELTA_STDDEVS
from zip_keras.models.detections import ClassifiedBoxes, best_pairs
from zip_keras.models.zoom import MirrorReport, build_zoom, copy_mirror_weights
from zip_keras.ops import boxes as box_ops
from zip_keras.ops.anchors import anchors_of_image
from zip_keras.targets.matching import OBJECT, assign

FOCAL_PRIOR = 0.01  # initial P(object) of every anchor with the focal loss


@serializable
class OneStageNetwork(keras.Model):
    """Predict class scores and box deltas of the anchors of all levels.

    Input: RGB images `[B, H, W, 3]`, 0..255, any size. Output: `{"logits": (per level [B, N_m, C + 1], background
    first), "deltas": (per level [B, N_m, 4], in units of DELTA_STDDEVS)}`, float32, fine to coarse.

    `model.compile(optimizer)` and `model.fit(batches)` train it on any Keras backend. A batch is `(images, targets)` as
    in docs/ARCHITECTURE.md.

    Args:
        config: architecture, `ModelConfig` or its dict; `num_classes` applies only to proposal networks.
        targets: labels of the anchors, `TargetConfig` or its dict; there is no gray class.
        detector: loss and postprocessing, `DetectorConfig` or its dict.
        class_names: names of the C classes.
    """

    def __init__(self, config=None, targets=None, detector=None, class_names: Sequence[str] = ("object",), **kwargs):
        # === Config ===
        config = _as(ModelConfig, config)
        detector = _as(DetectorConfig, detector)
        class_names = tuple(class_names)
        if not class_names:
            raise UserError("a detector needs at least one class; class_names is empty")
        if config.refinement_steps or config.quality:
            raise UserError(
                "model.refinement_steps and model.quality are of proposal networks; a detector of one stage has "
                "neither: set refinement_steps to 0 and quality to false"
            )

        # === Functional model ===
        image = keras.Input((None, None, 3), name="image")
        maps = build_zoom(image, config)
        heads = [
            RPNHead(
                len(config.anchors.scales[level - 1]) * len(config.anchors.ratios),
                len(class_names) + 1,
                config.head_channels,
                name=f"class_head_{level}",
            )
            for level in config.anchors.levels
        ]
        answers = [head(merged) for head, merged in zip(heads, maps.merged, strict=True)]
        outputs = {"logits": tuple(answer[0] for answer in answers), "deltas": tuple(answer[1] for answer in answers)}
        super().__init__(inputs=image, outputs=outputs, **kwargs)
        if detector.loss.anchors == "focal":
            _start_rare(heads, len(class_names))
        self.config, self.detector_config, self.class_names = config, detector, class_names
        self.target_config: TargetConfig = _as(TargetConfig, targets)
        self.levels = config.anchors.levels
        self.backbone_layers, self.mirror_layers = maps.backbone_layers, maps.mirror_layers

    @property
    def backbone_paths(self) -> frozenset[str]:
        """Paths of the backbone's variables."""
        return frozenset(variable.path for layer in self.backbone_layers.values() for variable in layer.variables)

    def copy_mirror_weights(self) -> MirrorReport:
        """See `ProposalNetwork.copy_mirror_weights`."""
        return copy_mirror_weights(self.backbone_layers, self.mirror_layers, self.config.mirror_source)

    def candidates(self, outputs, height, width, count: int) -> ClassifiedBoxes:
        """The best `count` pairs of box and class of each image and level, in pixels, unclipped.

        Args:
            outputs: the network's outputs for images of `height` x `width` pixels.
        """
        anchors = anchors_of_image(height, width, self.config.anchors)
        parts = []
        rows = zip(self.levels, anchors, outputs["logits"], outputs["deltas"], strict=True)
        for level, of_level, logits, deltas in rows:
            scores, places, classes = best_pairs(ops.softmax(logits, axis=-1)[..., 1:], count)
            chosen = ops.take_along_axis(deltas, places[..., None], axis=1) * ops.convert_to_tensor(DELTA_STDDEVS)
            boxes = box_ops.decode(chosen, ops.take(of_level, places, axis=0))
            parts.append(ClassifiedBoxes(boxes, scores, classes, ops.full_like(classes, level)))
        return ClassifiedBoxes(*(ops.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)))

    def image_losses(self, images, targets, outputs) -> dict[str, object]:
        """Compute the losses of every image, without averaging over images.

        Args:
            images: `[B, H, W, 3]`; only its size is used.
            targets: `boxes`, `classes`, `difficult`, `crowd`, `size`, `seed`; see docs/ARCHITECTURE.md.
            outputs: the network's outputs for the images.

        Returns:
            float32 `[B]` each: "loss", "classification", "box", "positives".
        """
        _, height, width, _ = ops.shape(images)
        level_anchors = anchors_of_image(height, width, self.config.anchors)
        assignment = assign(ops.concatenate(level_anchors, axis=0), targets, self.target_config, gray=False)
        classes = ops.take_along_axis(ops.cast(targets["classes"], "int32"), assignment.matches, axis=1) + 1
        everything = LabelledAnchors(
            ops.concatenate(level_anchors, axis=0),
            assignment.labels,
            ops.where(assignment.labels == OBJECT, classes, 0),
            ops.take_along_axis(ops.cast(targets["boxes"], "float32"), assignment.matches[..., None], axis=1),
        )
        loss = self.detector_config.loss
        if loss.anchors == "sampled":
            classification, box = self._sampled_losses(everything, level_anchors, targets, outputs)
        else:
            logits, deltas = (ops.concatenate(outputs[name], axis=1) for name in ("logits", "deltas"))
            classification, box = dense_losses(logits, deltas, everything, self.target_config, loss)
        positives = ops.sum(ops.cast(assignment.labels == OBJECT, "float32"), axis=1)
        return {"loss": classification + box, "classification": classification, "box": box, "positives": positives}

    def _sampled_losses(self, everything: LabelledAnchors, level_anchors, targets, outputs):
        """The classification and box losses, summed over levels."""
        classification, box, start = 0.0, 0.0, 0
        rows = zip(self.levels, level_anchors, outputs["logits"], outputs["deltas"], strict=True)
        for level, anchors, logits, deltas in rows:
            stop = start + ops.shape(anchors)[0]
            of_level = LabelledAnchors(anchors, *(x[:, start:stop] for x in everything[1:]))
            start = stop
            seed = ops.cast(targets["seed"], "int32") + level
            parts = sampled_losses(logits, deltas, of_level, seed, self.target_config, self.detector_config.loss)
            classification, box = classification + parts[0], box + parts[1]
        return classification, box

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean of `image_losses` over the images of the batch. Keras calls it in `fit` and `evaluate`."""
        return ops.mean(self.image_losses(x, y, y_pred)["loss"])

    def get_config(self):
        return {
            "name": self.name,
            "config": to_dict(self.config),
            "targets": to_dict(self.target_config),
            "detector": to_dict(self.detector_config),
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _start_rare(heads: Sequence[RPNHead], classes: int) -> None:
    """Set biases that give an anchor P(object) `FOCAL_PRIOR`; otherwise the many negatives would dominate the loss."""
    background = math.log(classes * (1 - FOCAL_PRIOR) / FOCAL_PRIOR)
    for head in heads:
        bias = ops.reshape(ops.zeros_like(head.score.bias), (-1, classes + 1))
        start = background * ops.one_hot(0, classes + 1, dtype="float32")
        head.score.bias.assign(ops.reshape(bias + start, (-1,)))


def _as(cls, value):
    if value is None:
        return cls()
    return value if isinstance(value, cls) else from_dict(cls, value)
