"""Which of an image's proposals a picture shows.

Measures want many boxes on each object: the list of a proposal network ranks near-duplicates of the best box high. A
reader wants few boxes on different objects. So a picture shows boxes that differ from each other and whose scores are
not far below the best one's. This is a choice for looking; files and measures keep the whole list.
"""

import numpy as np

from zip_keras.evaluation.matching import overlaps
from zip_keras.predictions.container import to_xywh

SHOWN_COUNT, SHOWN_IOU, SHOWN_SHARE = 10, 0.5, 0.5


def select_for_display(
    boxes: np.ndarray,
    scores: np.ndarray,
    count: int = SHOWN_COUNT,
    iou: float = SHOWN_IOU,
    share: float = SHOWN_SHARE,
) -> np.ndarray:
    """The rows of few, different boxes: NMS from the best score on, and no score far below the best.

    Args:
        boxes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first.
        scores: `[n]`, decreasing.
        count: rows at most.
        iou: a box that overlaps a chosen one by more is left out; 1 leaves none out.
        share: a box whose score is below this share of the best score is left out; 0 leaves none out.

    Returns:
        int64 `[m]`, increasing, `m <= count`.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores = np.asarray(scores, np.float64).reshape(-1)
    lowest = share * scores[0] if len(scores) and scores[0] > 0 else -np.inf
    rows = np.flatnonzero(scores >= lowest)
    return rows[distinct_rows(boxes[rows], count, iou)]


def distinct_rows(boxes: np.ndarray, count: int, iou: float, classes: np.ndarray | None = None) -> np.ndarray:
    """Greedy NMS: the rows of boxes that no chosen box before them overlaps by more than `iou`.

    Args:
        boxes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first.
        count: rows at most.
        iou: 1 leaves none out.
        classes: integers `[n]`; only boxes of one class leave each other out. None: all boxes.

    Returns:
        int64 `[m]`, increasing, `m <= count`.
    """
    xywh = to_xywh(np.reshape(boxes, (-1, 4)))
    left = np.ones(len(xywh), bool)
    chosen: list[int] = []
    for row in range(len(xywh)):
        if len(chosen) >= count:
            break
        if not left[row]:
            continue
        chosen.append(row)
        if iou >= 1:  # rounding puts the IoU of equal boxes above 1
            continue
        near = overlaps(xywh[[row]], xywh[row + 1 :])[0] > iou
        if classes is not None:
            near &= classes[row + 1 :] == classes[row]
        left[row + 1 :] &= ~near
    return np.array(chosen, np.int64)
