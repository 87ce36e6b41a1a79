"""Score biases of the three levels, chosen by cross-validation. Paper section 5.

The three levels are trained separately, so equal scores need not mean equal probabilities. The biases are chosen on a
few images that serve no other purpose. The model stores digests of these images and refuses to propose on them.
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
STEPS = (0.2, 0.1, 0.05, 0.02)  # step sizes of the search, coarse to fine, for scores in 0..1


@dataclass(frozen=True)
class Calibration:
    """The result of a calibration.

    Attributes:
        bias: biases of the three levels. Level 3 has bias 0, since only differences matter.
        before, after: AR at `budget` on all calibration images without and with `bias`. `after` is optimistic, because
            `bias` was chosen on the same images.
        held_out: AR of each fold with biases chosen on the other folds: an estimate for new images.
        budget: proposals per image.
        images: number of calibration images.
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
    """Choose the biases with the highest average recall; zero biases if recall does not improve on held-out folds.

    Args:
        proposer: the model; its own biases are ignored.
        dataset: calibration images, separate from the training and test images.
        budget: proposals per image at which recall is maximized.
        folds: number of cross-validation folds, at least 2.
        progress: wraps an iterable in a progress bar.

    Raises:
        UserError: there are fewer images than folds, they contain no object, or an image cannot be read.
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
    """The proposer with the biases of a calibration and the digests of its images."""
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
    """Average recall as a function of bias and images; results are cached per bias."""

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
        """AR on the images with these indices; 0 if they contain no object."""
        return float(self.found(bias)[images].sum() / max(self.objects[images].sum(), 1))

    def found(self, bias: Bias) -> np.ndarray:
        """Number of objects found in each image, mean over IoU thresholds."""
        if bias not in self._found:
            proposals = Predictions()
            for image_id, (boxes, scores, levels) in zip(self._ids, self._level_candidates, strict=True):
                merged = self._merge(boxes, scores, levels, tf.constant(bias))
                valid = merged.valid.numpy()[0]
                proposals.add(image_id, merged.boxes.numpy()[0][valid], merged.scores.numpy()[0][valid])
            self._found[bias] = found_per_image(self.truth, proposals, self.budget)[0]
        return self._found[bias]

    def _list(self, boxes, scores, levels, bias):
        """`merge` with the biases as a tensor, so that one trace serves all of them."""
        return merge(biased(Candidates(boxes, scores, levels), bias), self.config)


def _search(recall: Callable[[Bias, np.ndarray], float], images: np.ndarray) -> Bias:
    """Pattern search over the biases of levels 1 and 2: move to the best neighbour until none is better."""
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
