"""Select the proposals to show in a picture.

Recall metrics reward several boxes per object, so a proposal network ranks near-duplicates of the best box high. A
readable picture needs few boxes on different objects. Therefore it shows boxes that differ from each other and have
scores close to the best one. The selection is for display only; files and metrics use the whole list.
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
    """Indices of a few distinct boxes, selected by relative score and NMS.

    Args:
        boxes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first.
        scores: `[n]`, decreasing.
        count: maximum number of boxes.
        iou: boxes that overlap a selected one by more are dropped; 1 drops none.
        share: boxes with a score below this fraction of the best score are dropped; 0 drops none with a score of at
            least 0.

    Returns:
        int64 `[m]`, increasing, `m <= count`.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores = np.asarray(scores, np.float64).reshape(-1)
    lowest = share * scores[0] if len(scores) and scores[0] > 0 else -np.inf
    rows = np.flatnonzero(scores >= lowest)
    return rows[distinct_rows(boxes[rows], count, iou)]


def distinct_rows(boxes: np.ndarray, count: int, iou: float, classes: np.ndarray | None = None) -> np.ndarray:
    """Greedy NMS: indices of boxes that no better selected box overlaps by more than `iou`.

    Args:
        boxes: `[n, 4]` `[y1, x1, y2, x2]` in pixels, best first.
        count: maximum number of boxes.
        iou: IoU threshold; 1 drops no box.
        classes: integers `[n]`; boxes suppress only boxes of the same class. None: class-agnostic.

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
        if iou >= 1:  # rounding can put the IoU of equal boxes above 1
            continue
        near = overlaps(xywh[[row]], xywh[row + 1 :])[0] > iou
        if classes is not None:
            near &= classes[row + 1 :] == classes[row]
        left[row + 1 :] &= ~near
    return np.array(chosen, np.int64)
