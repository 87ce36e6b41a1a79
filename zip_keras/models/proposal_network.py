"""The proposal network: zoom network + a head for each level, with its loss. Paper sections 3 and 4."""

import keras
from keras import ops

from zip_keras.anchors import anchors_of_image
from zip_keras.config import LossConfig, ModelConfig, TargetConfig, from_dict, to_dict
from zip_keras.layers.heads import ProposalHead
from zip_keras.layers.registry import serializable
from zip_keras.losses import level_losses
from zip_keras.models.zoom import MirrorReport, build_zoom, copy_mirror_weights
from zip_keras.targets import OBJECT, assign, sample


@serializable
class ProposalNetwork(keras.Model):
    """Images to anchor scores and box offsets of the levels with anchors: `levels`, three unless the config says less.

    Input: RGB images `[B, H, W, 3]`, 0..255, any size. Output: `{"logits": (of each level [B, N_m, K]), "offsets": (of
    each level [B, N_m, 4])}`, float32, fine to coarse; the anchors are `zip_keras.anchors.anchors_of_image(H, W, ...)`.

    `model.compile(optimizer)` and `model.fit(batches)` train it on any Keras backend; a batch is `(images, targets)` as
    in docs/ARCHITECTURE.md.

    Args:
        config: the network, `ModelConfig` or its dict.
        targets, loss: how it learns; kept with the model so that a loaded one trains on unchanged.
    """

    def __init__(self, config=None, targets=None, loss=None, **kwargs):
        # === Config ===
        config = _as(ModelConfig, config)

        # === Functional model ===
        image = keras.Input((None, None, 3), name="image")
        maps = build_zoom(image, config)
        logits, offsets = [], []
        for level, merged in zip(config.anchors.levels, maps.merged, strict=True):
            anchors = len(config.anchors.scales[level - 1]) * len(config.anchors.ratios)
            head = ProposalHead(anchors, config.classes, config.head_channels, name=f"head_{level}")
            level_logits, level_offsets = head(merged)
            logits.append(level_logits)
            offsets.append(level_offsets)
        super().__init__(inputs=image, outputs={"logits": tuple(logits), "offsets": tuple(offsets)}, **kwargs)
        self.config = config
        self.target_config = _as(TargetConfig, targets)
        self.loss_config = _as(LossConfig, loss)
        self.levels = config.anchors.levels
        self.trunk_layers = maps.trunk_layers
        self.mirror_layers = maps.mirror_layers

    def copy_mirror_weights(self) -> MirrorReport:
        """Starts the zoom-in stream from the trunk's weights; call it after loading pretrained weights."""
        return copy_mirror_weights(self.trunk_layers, self.mirror_layers)

    def anchors(self, height, width):
        """The anchors of each level for images of `height` x `width` pixels, float32 `[N_m, 4]`."""
        return anchors_of_image(height, width, self.config.anchors)

    def image_losses(self, images, targets, outputs) -> dict[str, object]:
        """The losses of every image, before any mean.

        Args:
            images: `[B, H, W, 3]`; only its size is used.
            targets: `boxes`, `classes`, `difficult`, `crowd`, `size`, `seed`; see docs/ARCHITECTURE.md.
            outputs: what the network gave.

        Returns:
            float32 `[B]` each: "loss", "classification_m", "box_m", "positives_m" for every level m.
        """
        _, height, width, _ = ops.shape(images)
        level_anchors = self.anchors(height, width)
        gray = self.config.classes == 3
        assignment = assign(ops.concatenate(level_anchors, axis=0), targets, self.target_config, gray=gray)
        boxes = ops.cast(targets["boxes"], "float32")
        result: dict[str, object] = {}
        total, start = 0.0, 0
        for level, anchors, logits, offsets in zip(
            self.levels, level_anchors, outputs["logits"], outputs["offsets"], strict=True
        ):
            stop = start + ops.shape(anchors)[0]
            labels, matches = assignment.labels[:, start:stop], assignment.matches[:, start:stop]
            start = stop
            drawn = sample(labels, ops.cast(targets["seed"], "int32") + level, self.target_config, gray=gray)
            of_sample = ops.take_along_axis(matches, drawn.anchors, axis=1)  # [B, S]
            matched_boxes = ops.take_along_axis(boxes, of_sample[..., None], axis=1)  # [B, S, 4]
            classification, box = level_losses(logits, offsets, anchors, matched_boxes, drawn, self.loss_config)
            total = total + classification + box
            result[f"classification_{level}"], result[f"box_{level}"] = classification, box
            result[f"positives_{level}"] = ops.sum(ops.cast(labels == OBJECT, "float32"), axis=1)
        return {"loss": total, **result}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean over the batch's images of `image_losses` (Keras calls it from `fit` and `evaluate`)."""
        return ops.mean(self.image_losses(x, y, y_pred)["loss"])

    def get_config(self):
        return {
            "name": self.name,
            "config": to_dict(self.config),
            "targets": to_dict(self.target_config),
            "loss": to_dict(self.loss_config),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def _as(cls, value):
    if value is None:
        return cls()
    return value if isinstance(value, cls) else from_dict(cls, value)
