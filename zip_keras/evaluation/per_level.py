"""Contribution of each level of the network to a list of proposals: its share, and its recall alone."""

import numpy as np

from zip_keras.errors import UserError
from zip_keras.evaluation.average_recall import average_recall
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.predictions.container import Predictions

LEVEL_BUDGETS = (10, 100, 1000)


def refuse_without_levels(proposals: Predictions) -> None:
    """Raise `UserError` if no proposal has a level."""
    if not has_levels(proposals):
        raise UserError(
            f"{proposals.name}: no proposal says which level it comes from; write it anew with zip-keras propose as "
            ".json, .npz or .parquet (the other kinds drop the level, and only this project's models state it)"
        )


def per_level(
    ground_truth: GroundTruth, proposals: Predictions, protocol: str = "fast", budgets: tuple[int, ...] = LEVEL_BUDGETS
) -> dict[int, dict[str, float]]:
    """Metrics of every level that occurs, from fine to coarse.

    Args:
        ground_truth: objects; proposals of other images are ignored.
        proposals: proposals with `levels`; boxes of unknown level form a separate row under 0.
        protocol: protocol of `average_recall`; `coco` is computed by `fast`, which is bit-identical.
        budgets: numbers of proposals per image.

    Returns:
        `{level: {"share@N": fraction of the first N proposals of all images that are of this level, "AR@N": average
        recall with only the best N proposals of this level per image, "AR@100-S", "-M", "-L": by object size}}`.

    Raises:
        UserError: no proposal has a level.
    """
    refuse_without_levels(proposals)
    protocol = "fast" if protocol == "coco" else protocol
    return {
        level: {
            **{f"share@{budget}": share_of_level(ground_truth, proposals, level, budget) for budget in budgets},
            **average_recall(ground_truth, proposals.of_level(level), protocol, budgets),
        }
        for level in proposals.levels
    }


def share_of_level(ground_truth: GroundTruth, proposals: Predictions, level: int, budget: int) -> float:
    """Fraction of the first `budget` proposals of every image, over all images, that are of this level."""
    first = np.concatenate([proposals[image_id].levels[:budget] for image_id in ground_truth.image_ids])
    return float((first == level).mean()) if len(first) else float("nan")


def has_levels(proposals: Predictions) -> bool:
    """Whether any proposal has a known level."""
    return any(level > 0 for level in proposals.levels)


def level_name(level: int) -> str:
    """Name of a level in tables."""
    return f"level {level}" if level else "not known"
