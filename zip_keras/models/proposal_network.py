"""Proposal network: zoom network, a head for each level, and the loss. Paper sections 3 and 4."""

from typing import Any

import keras
from keras import ops

from zip_keras.config import LossConfig, ModelConfig, TargetConfig, from_dict, to_dict
from zip_keras.errors import UserError
from zip_keras.layers.registry import serializable
from zip_keras.layers.rpn_head import RefiningRPNHead, RPNHead
from zip_keras.losses.rpn import level_losses, quality_loss
from zip_keras.models.zoom import MirrorReport, build_zoom, copy_mirror_weights
from zip_keras.ops import boxes as box_ops
from zip_keras.ops.anchors import anchors_of_image
from zip_keras.ops.nms import best_places
from zip_keras.targets.matching import OBJECT, assign
from zip_keras.targets.sampling import sample


@serializable
class ProposalNetwork(keras.Model):
    """Predict anchor scores and box deltas of the levels with anchors (`levels`, by default all three).

    Input: RGB images `[B, H, W, 3]`, 0..255, any size. Output: `{"logits": (per level [B, N_m, K]), "deltas": (per
    level [B, N_m, 4])}`, float32, fine to coarse; `zip_keras.ops.anchors.anchors_of_image(H, W, ...)` gives the
    anchors. `config.quality` adds `"quality"`: per level the logits of the predicted IoU `[B, N_m]`.
    `config.refinement_steps` adds `"refinements"`, a dict of such tuples `logits`, `deltas` and `starts` for each step,
    and `"hidden"`, the hidden maps of the heads (see `RefiningRPNHead`). `scored_boxes` decodes all outputs.

    `model.compile(optimizer)` and `model.fit(batches)` train it on any Keras backend. A batch is `(images, targets)` as
    in docs/ARCHITECTURE.md.

    Args:
        config: architecture, `ModelConfig` or its dict.
        targets, loss: `TargetConfig` and `LossConfig` or their dicts; saved with the model, so that training of a
            loaded model can continue.
    """

    def __init__(self, config=None, targets=None, loss=None, **kwargs):
        # === Config ===
        config = _as(ModelConfig, config)

        # === Functional model ===
        image = keras.Input((None, None, 3), name="image")
        maps = build_zoom(image, config)
        heads = [_head(level, config)(merged) for level, merged in zip(config.anchors.levels, maps.merged, strict=True)]
        outputs = {"logits": tuple(head[0] for head in heads), "deltas": tuple(head[1] for head in heads)}
        if config.quality:
            outputs["quality"] = tuple(head[2] for head in heads)
        if config.refinement_steps:
            outputs["hidden"] = tuple(head[2] for head in heads)
            steps = zip(*(head[3] for head in heads), strict=True)
            outputs["refinements"] = tuple(_step(zip(*levels, strict=True)) for levels in steps)
        super().__init__(inputs=image, outputs=outputs, **kwargs)
        self.config = config
        self.target_config = _as(TargetConfig, targets)
        self.loss_config = _as(LossConfig, loss)
        self.levels = config.anchors.levels
        self.backbone_layers = maps.backbone_layers
        self.mirror_layers = maps.mirror_layers
        self.merged_maps = maps.merged  # symbolic: Y1, Y2, F3 of the levels with anchors

    @property
    def backbone_paths(self) -> frozenset[str]:
        """Paths of the backbone's variables; those of a keras.applications backbone have no common prefix."""
        return frozenset(variable.path for layer in self.backbone_layers.values() for variable in layer.variables)

    def copy_mirror_weights(self) -> MirrorReport:
        """Initialise the zoom-in stream from the backbone's weights. Call it after loading pretrained weights."""
        return copy_mirror_weights(self.backbone_layers, self.mirror_layers, self.config.mirror_source)

    def anchors(self, height, width):
        """The anchors of each level for images of `height` x `width` pixels, float32 `[N_m, 4]`."""
        return anchors_of_image(height, width, self.config.anchors)

    def image_losses(self, images, targets, outputs) -> dict[str, object]:
        """Compute the losses of every image, without averaging over images.

        Args:
            images: `[B, H, W, 3]`; only its size is used.
            targets: `boxes`, `classes`, `difficult`, `crowd`, `size`, `seed`; see docs/ARCHITECTURE.md.
            outputs: the network's outputs for the images.

        Returns:
            float32 `[B]` each: "loss", "classification_m", "box_m", "positives_m" for every level m, and with
            `config.quality` "quality_m". With refinement steps, "loss" includes all steps, each of which treats its
            input boxes as anchors, and there are also "loss_step_t" and "positives_step_t" for t = 1, 2, .... The
            values per level cover only the anchors.
        """
        _, height, width, _ = ops.shape(images)
        anchors = self.anchors(height, width)
        result = self._step_losses(
            anchors, outputs["logits"], outputs["deltas"], targets, number=0, level_quality=outputs.get("quality")
        )
        for number, refined in enumerate(outputs.get("refinements", ()), 1):
            boxes = _decoded(refined["starts"], anchors)
            losses = self._step_losses(boxes, refined["logits"], refined["deltas"], targets, number)
            result["loss"] = result["loss"] + losses["loss"]
            result[f"loss_step_{number}"] = losses["loss"]
            result[f"positives_step_{number}"] = sum(losses[f"positives_{level}"] for level in self.levels)
        return result

    def _step_losses(
        self, level_anchors, level_logits, level_deltas, targets, number: int, level_quality=None
    ) -> dict[str, Any]:
        """The losses of one step, for the anchors `[N_m, 4]` (step 0) or for regressed boxes `[B, N_m, 4]`."""
        gray = self.config.num_classes == 3
        assignment = assign(ops.concatenate(level_anchors, axis=-2), targets, self.target_config, gray=gray)
        boxes = ops.cast(targets["boxes"], "float32")
        result: dict[str, Any] = {}
        total, start = 0.0, 0
        for place, (level, anchors, logits, deltas) in enumerate(
            zip(self.levels, level_anchors, level_logits, level_deltas, strict=True)
        ):
            stop = start + ops.shape(anchors)[-2]
            labels, matches = assignment.labels[:, start:stop], assignment.matches[:, start:stop]
            start = stop
            seed = ops.cast(targets["seed"], "int32") + (level + 3 * number)
            drawn = sample(labels, seed, self.target_config, gray=gray)
            of_sample = ops.take_along_axis(matches, drawn.anchors, axis=1)  # [B, S]
            matched_boxes = ops.take_along_axis(boxes, of_sample[..., None], axis=1)  # [B, S, 4]
            classification, box = level_losses(logits, deltas, anchors, matched_boxes, drawn, self.loss_config)
            total = total + classification + box
            result[f"classification_{level}"], result[f"box_{level}"] = classification, box
            if level_quality is not None:
                objects = ops.take_along_axis(_wanted(boxes, targets), matches[..., None], axis=1)  # [B, N_m, 4]
                quality = quality_loss(level_quality[place], deltas, anchors, objects, labels, drawn, self.loss_config)
                total = total + quality
                result[f"quality_{level}"] = quality
            result[f"positives_{level}"] = ops.sum(ops.cast(labels == OBJECT, "float32"), axis=1)
        return {"loss": total, **result}

    def scored_boxes(
        self,
        outputs,
        height,
        width,
        steps: int | None = None,
        best: int | None = None,
        quality_exponent: float = 0.5,
    ) -> tuple[list[Any], list[Any]]:
        """Decode the network's outputs to scored boxes.

        Args:
            outputs: the network's outputs for the images.
            height, width: size of the images, pixels.
            steps: number of refinement steps; None: as many as in training.
            best: number of boxes to decode per level, best first; None: all, in anchor order. If a level has fewer,
                places with the score `zip_keras.ops.nms.ABSENT` follow.
            quality_exponent: see `PostprocessConfig`.

        Returns:
            per level boxes float32 `[B, N_m, 4]`, pixels, unclipped, and scores float32 `[B, N_m]`: P(object), or with
            `config.quality` P(object) ** (1 - e) * quality ** e. With refinement, the scores are those that the last
            step gives its input boxes; otherwise they are those of the anchors.

        Raises:
            UserError: see `check_refinement_steps`.
        """
        steps = self.check_refinement_steps(steps)
        outputs = keras.tree.map_structure(ops.convert_to_tensor, outputs)  # `predict` gives NumPy arrays
        answer, boxes = outputs, self.anchors(height, width)
        if steps:
            answer = self._after(outputs, steps)
            boxes = _decoded(answer["starts"], boxes)
        scores = [ops.softmax(logits, axis=-1)[..., OBJECT] for logits in answer["logits"]]
        if self.config.quality:
            qualities = [ops.sigmoid(quality) for quality in answer["quality"]]
            scores = [
                p ** (1.0 - quality_exponent) * q**quality_exponent for p, q in zip(scores, qualities, strict=True)
            ]
        deltas = answer["deltas"]
        if best is not None:
            chosen = [best_places(of_level, best) for of_level in scores]
            scores = [of_level for of_level, _ in chosen]
            deltas = [
                ops.take_along_axis(x, places[..., None], axis=1) for x, (_, places) in zip(deltas, chosen, strict=True)
            ]
            boxes = [_taken(of_level, places) for of_level, (_, places) in zip(boxes, chosen, strict=True)]
        return _decoded(deltas, boxes), scores

    def check_refinement_steps(self, steps: int | None) -> int:
        """Check a number of refinement steps and return it; None: as many as in training.

        Raises:
            UserError: `steps` is negative, or above 0 for a network trained without refinement.
        """
        if steps is None:
            return self.config.refinement_steps
        if steps < 0:
            raise UserError(f"refinement_steps is {steps}; it must be 0 or more")
        if steps and not self.config.refinement_steps:
            raise UserError(
                f"refinement_steps is {steps}, but this network was trained without; "
                "train one with model.refinement_steps=1"
            )
        return steps

    def _after(self, outputs, steps: int) -> dict[str, Any]:
        """The outputs of step `steps`, counted from 1. Steps that `outputs` does not contain are run here."""
        answer = outputs["refinements"][min(steps, self.config.refinement_steps) - 1]
        for _ in range(steps - self.config.refinement_steps):
            levels = []
            for i, level in enumerate(self.levels):
                head = self.get_layer(f"head_{level}")
                starts = head.advance(answer["deltas"][i], answer["starts"][i])
                levels.append((*head.refine(outputs["hidden"][i], starts), starts))
            answer = _step(zip(*levels, strict=True))
        return answer

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The mean of `image_losses` over the images of the batch. Keras calls it in `fit` and `evaluate`."""
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


def _head(level: int, config: ModelConfig) -> RPNHead:
    anchors = len(config.anchors.scales[level - 1]) * len(config.anchors.ratios)
    sizes = (anchors, config.num_classes, config.head_channels)
    if config.refinement_steps:
        return RefiningRPNHead(*sizes, steps=config.refinement_steps, name=f"head_{level}")
    return RPNHead(*sizes, quality=config.quality, name=f"head_{level}")


def _wanted(boxes, targets):
    """`boxes [B, M, 4]`, empty for padding, difficult objects and crowds: no anchor shall learn their IoU."""
    set_aside = ops.logical_or(ops.cast(targets["difficult"], "bool"), ops.cast(targets["crowd"], "bool"))
    wanted = ops.logical_and(ops.convert_to_tensor(targets["classes"]) >= 0, ops.logical_not(set_aside))
    return ops.where(wanted[..., None], boxes, 0.0)


def _step(columns) -> dict[str, Any]:
    """A step as a dict of tuples over levels, from (logits per level, deltas per level, starts per level)."""
    return dict(zip(("logits", "deltas", "starts"), columns, strict=True))


def _decoded(level_deltas, level_boxes) -> list[Any]:
    return [box_ops.decode(x, boxes) for x, boxes in zip(level_deltas, level_boxes, strict=True)]


def _taken(boxes, places):
    """The boxes at `places [B, q]` of anchors `[N, 4]` or of boxes per image `[B, N, 4]`: `[B, q, 4]`."""
    if len(boxes.shape) == 2:
        return ops.take(boxes, places, axis=0)
    return ops.take_along_axis(boxes, places[..., None], axis=1)


def _as(cls, value):
    if value is None:
        return cls()
    return value if isinstance(value, cls) else from_dict(cls, value)
