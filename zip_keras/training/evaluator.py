"""Evaluation of a network during training: average recall on validation images, pictures, attention statistics."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import orbit
import tensorflow as tf

from zip_keras.data.records import Dataset
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.curves import groups_of_classes, recall_of_groups, split_classes
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.inference.runner import InferenceRunner, load_image, propose_records
from zip_keras.models.proposer import Proposer
from zip_keras.predictions.container import Predictions

PICTURES = 4
GREEN, ORANGE = (0.1, 0.9, 0.2, 1.0), (1.0, 0.6, 0.0, 1.0)


class RecallEvaluator(orbit.AbstractEvaluator):
    """Average recall (protocol `fast`, equal to `coco`) of the current weights of its proposer.

    Args:
        proposer: proposer with a copy of the network; the run sets the weights to evaluate.
        dataset: validation images.
        summaries: writer of pictures and attention statistics.
        global_step: step counter of the run.
        progress: wraps an iterable in a progress bar.
        unseen: names of unseen classes; if given, seen and unseen classes are also evaluated separately.
    """

    def __init__(
        self,
        proposer: Proposer,
        dataset: Dataset,
        summaries: tf.summary.SummaryWriter,
        global_step: tf.Variable,
        progress: Callable = lambda records: records,
        unseen: Sequence[str] = (),
    ):
        self.proposer, self.dataset = proposer, dataset
        self.ground_truth = from_dataset(dataset)
        self.split = split_classes(self.ground_truth, (), unseen) if unseen else {}
        self.summaries, self.global_step, self.progress = summaries, global_step, progress
        self._runner = self.make_runner()
        self._decisions = _decision_model(getattr(proposer.network, "proposal_network", proposer.network))

    def make_runner(self):
        """Make the runner that `predict` applies to each image."""
        return InferenceRunner(self.proposer)

    def predict(self) -> Predictions:
        """Predict boxes for all validation images."""
        return propose_records(self._runner, self.progress(self.dataset.records))

    def evaluate(self, num_steps) -> dict[str, float]:
        """Evaluate all validation images; return the metrics of `measure`."""
        proposals = self.predict()
        numbers = self.measure(proposals)
        with self.summaries.as_default(step=self.global_step.numpy()):
            self._write_pictures(proposals)
            self._write_attention()
        return numbers

    def measure(self, found: Predictions) -> dict[str, float]:
        """The finite metrics of `average_recall`, and those of seen and unseen classes."""
        numbers = average_recall(self.ground_truth, found)
        groups = groups_of_classes(self.ground_truth, {of: names for of, names in self.split.items() if of != "all"})
        for of, recall in recall_of_groups(self.ground_truth, found, groups, (10, 100)).items():
            numbers |= {f"AR@{budget}-{of}": value for budget, value in recall.items()}
        return {name: value for name, value in numbers.items() if np.isfinite(value)}

    def _write_pictures(self, proposals) -> None:
        """Draw the ten best proposals (orange) and the objects (green) of the first images."""
        for record in self.dataset.records[:PICTURES]:
            image = tf.convert_to_tensor(load_image(record)[None], tf.float32) / 255.0
            height, width = image.shape[1:3]
            for boxes, colour in ((proposals[record.image_id].boxes[:10], ORANGE), (record.boxes, GREEN)):
                if len(boxes):
                    relative = boxes[None] / np.array([height, width, height, width], "float32")
                    image = tf.image.draw_bounding_boxes(image, relative, [colour])
            tf.summary.image(f"proposals/{record.image_id}", image)

    def _write_attention(self) -> None:
        """Write mean and spread of the decisions mu over channels and over images."""
        if self._decisions is None:
            return
        values: dict[str, list[np.ndarray]] = {}
        for record in self.dataset.records[:PICTURES]:
            image = self.proposer.resizings[0](load_image(record)[None])
            for name, decision in self._decisions(image, training=False).items():
                values.setdefault(name, []).append(np.mean(decision, axis=(0, 1, 2)))
        for name, of_images in values.items():
            decisions = np.stack(of_images)  # [image, channel]
            tf.summary.histogram(f"attention/{name}", decisions)
            tf.summary.scalar(f"attention/{name}_mean", decisions.mean())
            tf.summary.scalar(f"attention/{name}_spread_over_channels", decisions.std(axis=1).mean())
            tf.summary.scalar(f"attention/{name}_spread_over_images", decisions.std(axis=0).mean())


def _decision_model(network) -> keras.Model | None:
    """A model from an image to the decisions mu of each level that has one; None for merges without mu."""
    layers = {layer.name: layer for layer in network.layers}
    outputs = {f"mu_{m}": layers[f"merge_{m}_decision"].output for m in (1, 2) if f"merge_{m}_decision" in layers}
    return keras.Model(network.input, outputs) if outputs else None
