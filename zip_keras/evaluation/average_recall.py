"""Average recall of proposals under all protocols."""

from zip_keras.data.records import Dataset
from zip_keras.evaluation.ground_truth import GroundTruth, from_dataset
from zip_keras.evaluation.hosang import best_overlaps, hosang_recall
from zip_keras.evaluation.matching import match_ranks, recall_at
from zip_keras.evaluation.protocols import BUDGETS, SIZE_BUDGET, named_averages
from zip_keras.predictions.container import Predictions

PROTOCOLS = ("coco", "fast", "hosang")


def average_recall(
    ground_truth: GroundTruth | Dataset,
    proposals: Predictions,
    protocol: str = "fast",
    budgets: tuple[int, ...] = BUDGETS,
) -> dict[str, float]:
    """Class-agnostic average recall over IoU .5 to .95 (`hosang`: to 1).

    The objects of images without proposals are counted as missed.

    Args:
        ground_truth: objects; crowd and difficult ones are ignored.
        proposals: proposals in pixels of the original images; images not in `ground_truth` are ignored.
        protocol: `coco` runs pycocotools; `fast` is bit-identical without it; `hosang` matches one-to-one, best IoU
            first, with AR = 2 * integral of recall.
        budgets: numbers of proposals per image; metrics by object size always use 100.

    Returns:
        `AR@10 AR@100 AR@500 AR@1000 AR@100-S AR@100-M AR@100-L` between 0 and 1; NaN if the data has no object of
        that size.

    Raises:
        ValueError: unknown protocol, or a budget below 1.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    if min(budgets) < 1:
        raise ValueError(f"budgets {budgets}: a number of proposals must be at least 1")
    if isinstance(ground_truth, Dataset):
        ground_truth = from_dataset(ground_truth)
    needed = tuple(dict.fromkeys((*budgets, SIZE_BUDGET)))
    if protocol == "coco":
        from zip_keras.evaluation.pycoco import coco_recall

        recall = coco_recall(ground_truth, proposals, needed)
    elif protocol == "hosang":
        recall = hosang_recall(best_overlaps(ground_truth, proposals, needed), ground_truth)
    else:
        recall = recall_at(match_ranks(ground_truth, proposals, max(needed)), ground_truth, needed)
    averages = named_averages(recall, needed)
    if SIZE_BUDGET not in budgets:
        del averages[f"AR@{SIZE_BUDGET}"]
    return averages
