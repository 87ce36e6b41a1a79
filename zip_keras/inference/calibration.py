"""Biases of the levels by cross-validation: what a level's scores are worth against the others'. Paper section 5.

The three levels are trained apart, so equal scores need not mean equal chances. The biases are chosen on a few images
that serve no other purpose; the model remembers these images by their bytes and refuses to propose on them.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from zip_keras.data.records import Dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.curves import found_per_image
from zip_keras.evaluation.ground_truth import GroundTruth, from_dataset
from zip_keras.inference.calibration_images import image_digest
from zip_keras.inference.runner import load_image
from zip_keras.models.postprocess import Candidates, biased, merge
from zip_keras.models.proposer import Proposer
from zip_keras.predictions.container import Predictions

Bias = tuple[float, float, float]
UNBIASED: Bias = (0.0, 0.0, 0.0)
STEPS = (0.2, 0.1, 0.05, 0.02)  # of the search, coarse to fine; scores are probabilities


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes:
        bias: of the three levels; level 3's is 0, since only differences matter.
        before, after: AR at `budget` on all calibration images without and with `bias`; the second is too good, having
            been chosen there.
        held_out: AR of biases chosen on the other folds: what to expect on new images.
        budget: proposals an image.
        images: calibration images.
    """

    bias: Bias
    before: float
    after: float
    held_out: float
    budget: int
    images: int


def calibrate(
    proposer: Proposer,
    dataset: Dataset,
    budget: int = 100,
    folds: int = 4,
    progress: Callable = lambda items: items,
) -> Calibration:
    """Chooses the biases that give the highest average recall; zero where that does not hold on held-out folds.

    Args:
        proposer: its own biases are not looked at.
        dataset: calibration images, apart from those that the model was trained on and will be measured on.
        budget: proposals an image at which recall is to be highest.
        folds: parts of the cross-validation.
        progress: wraps an iterable in a progress bar.

    Raises:
        UserError: fewer images than folds, no object in them, or an image cannot be read.
    """
    if folds < 2 or len(dataset.records) < folds:
        raise UserError(f"{dataset.spec}: {len(dataset.records)} images are too few for {folds} folds")
    truth = from_dataset(dataset)
    if not truth.counted.any():
        raise UserError(f"{dataset.spec}: no object in the calibration images; name another split")
    recall = _RecallOfBias(proposer, dataset, truth, budget, progress)
    everything = np.arange(len(dataset.records))
    fold_of = np.random.default_rng(0).permutation(everything) % folds
    held_out = 0.0
    for fold in range(folds):
        bias = _search(recall, everything[fold_of != fold])
        held_out += recall.found(bias)[fold_of == fold].sum()
    held_out /= recall.objects.sum()
    before = recall(UNBIASED, everything)
    bias = _search(recall, everything) if held_out > before else UNBIASED
    return Calibration(bias, before, recall(bias, everything), held_out, budget, len(dataset.records))


def calibrated(proposer: Proposer, dataset: Dataset, result: Calibration) -> Proposer:
    """The proposer with the biases of a calibration, and with the memory of its images."""
    return proposer.with_options(
        postprocess=dataclasses.replace(proposer.postprocess_config, level_bias=result.bias),
        calibration={
            "data": dataset.spec,
            **dataclasses.asdict(result),
            "bias": list(result.bias),
            "digests": sorted(image_digest(record) for record in dataset.records),
        },
    )


class _RecallOfBias:
    """Average recall as a function of bias and images; every bias is tried once."""

    def __init__(self, proposer: Proposer, dataset: Dataset, truth: GroundTruth, budget: int, progress: Callable):
        config = proposer.postprocess_config
        self.config = dataclasses.replace(config, max_proposals=max(budget, 1), level_bias=UNBIASED)
        self.truth, self.budget = truth, budget
        self._ids = [record.image_id for record in dataset.records]
        find = tf.function(
            proposer.level_candidates, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)], autograph=False
        )
        self._level_candidates = [
            [values.numpy() for values in find(load_image(record)[None])] for record in progress(dataset.records)
        ]
        self._merge = tf.function(self._list, reduce_retracing=True, autograph=False)
        self._found: dict[Bias, np.ndarray] = {}
        self.objects = found_per_image(truth, Predictions(), budget)[1]

    def __call__(self, bias: Bias, images: np.ndarray) -> float:
        """AR on the images of these numbers; 0 where they hold no object."""
        return float(self.found(bias)[images].sum() / max(self.objects[images].sum(), 1))

    def found(self, bias: Bias) -> np.ndarray:
        """Objects found in every image, mean over IoU thresholds."""
        if bias not in self._found:
            proposals = Predictions()
            for image_id, (boxes, scores, levels) in zip(self._ids, self._level_candidates, strict=True):
                merged = self._merge(boxes, scores, levels, tf.constant(bias))
                valid = merged.valid.numpy()[0]
                proposals.add(image_id, merged.boxes.numpy()[0][valid], merged.scores.numpy()[0][valid])
            self._found[bias] = found_per_image(self.truth, proposals, self.budget)[0]
        return self._found[bias]

    def _list(self, boxes, scores, levels, bias):
        """`merge` with biases that are not known when it is traced."""
        return merge(biased(Candidates(boxes, scores, levels), bias), self.config)


def _search(recall: Callable[[Bias, np.ndarray], float], images: np.ndarray) -> Bias:
    """Pattern search over the biases of levels 1 and 2: the best neighbour a step away, until none is better."""
    best, value = UNBIASED, recall(UNBIASED, images)
    for step in STEPS:
        while True:
            moves = [(best[0] + a * step, best[1] + b * step) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))]
            tried = [(recall(bias, images), bias) for bias in (_rounded(move) for move in moves)]
            top, bias = max(tried)
            if top <= value:
                break
            best, value = bias, top
    return best


def _rounded(move: tuple[float, float]) -> Bias:
    return (round(move[0], 3), round(move[1], 3), 0.0)
