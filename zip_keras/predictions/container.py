"""Scored boxes of images in memory, shared by inference, file formats and evaluation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

ImageId = int | str


@dataclass(frozen=True, slots=True)
class ImagePredictions:
    """The predictions of one image, best first.

    Attributes:
        image_id: as in `ImageRecord`.
        xywh: float64 `[n, 4]`, `[x, y, width, height]` in pixels, as in a COCO results file. pycocotools evaluates
            these numbers; a conversion to corners and back would change the last bit of a width.
        scores: float64 `[n]`, decreasing; equal scores keep the input order.
        categories: int64 `[n]`, COCO category ids; all 1 for class-agnostic proposals.
        levels: int64 `[n]`, the network level of each box, 1 is the finest; 0 if unknown.
    """

    image_id: ImageId
    xywh: np.ndarray
    scores: np.ndarray
    categories: np.ndarray
    levels: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """Boxes float32 `[n, 4]`, `[y1, x1, y2, x2]` in pixels, the box format of this project."""
        return corners(self.xywh).astype(np.float32)

    def choose(self, chosen: np.ndarray) -> "ImagePredictions":
        """Select boxes; `chosen` holds row indices, which set the order, or is bool `[n]`."""
        columns = (self.xywh, self.scores, self.categories, self.levels)
        return ImagePredictions(self.image_id, *(column[chosen] for column in columns))

    def __len__(self) -> int:
        return len(self.scores)


class Predictions:
    """Predictions of many images; iteration yields `ImagePredictions` in the order in which images were first added.

    `predictions[image_id]` is empty for an image that was never added, because images without predictions are valid and
    must be evaluated.
    """

    def __init__(self, name: str = "proposals"):
        """Create an empty set; `name`, usually its file, is used in messages, tables and plots."""
        self.name = name
        self._images: dict[ImageId, ImagePredictions] = {}

    def add(self, image_id: ImageId, boxes: np.ndarray, scores: np.ndarray, levels: np.ndarray | None = None) -> None:
        """Add boxes `[n, 4]` `[y1, x1, y2, x2]` in pixels with scores `[n]` to an image, in any order.

        Args:
            image_id: id of the image.
            boxes: `[n, 4]`.
            scores: `[n]`.
            levels: integers `[n]`, see `ImagePredictions`; None: unknown.
        """
        self.add_xywh(image_id, to_xywh(boxes), scores, levels=levels)

    def add_xywh(
        self,
        image_id: ImageId,
        xywh: np.ndarray,
        scores: np.ndarray,
        categories: np.ndarray | None = None,
        levels: np.ndarray | None = None,
    ) -> None:
        """Add boxes `[n, 4]` `[x, y, width, height]` with scores, category ids (None: 1) and levels (None: 0) `[n]`.

        Raises:
            ValueError: the lengths differ, or a level is below 0.
        """
        xywh = np.asarray(xywh, np.float64).reshape(-1, 4)
        scores = np.asarray(scores, np.float64).reshape(-1)
        categories = np.ones(len(scores), np.int64) if categories is None else np.asarray(categories, np.int64)
        levels = np.zeros(len(scores), np.int64) if levels is None else np.asarray(levels, np.int64)
        if not len(xywh) == len(scores) == len(categories) == len(levels):
            raise ValueError(
                f"image {image_id}: {len(xywh)} boxes, {len(scores)} scores, {len(categories)} categories, "
                f"{len(levels)} levels"
            )
        if (levels < 0).any():
            raise ValueError(f"image {image_id}: level {levels.min()}; levels count from 1, and 0 is not known")
        if image_id in self._images:
            before = self._images[image_id]
            xywh = np.concatenate([before.xywh, xywh])
            scores = np.concatenate([before.scores, scores])
            categories = np.concatenate([before.categories, categories])
            levels = np.concatenate([before.levels, levels])
        part = ImagePredictions(image_id, xywh, scores, categories, levels)
        in_order = bool((scores[1:] <= scores[:-1]).all())  # False if a score is NaN
        self._images[image_id] = part if in_order else part.choose(np.argsort(-scores, kind="stable"))

    def pop(self, image_id: ImageId) -> ImagePredictions:
        """Remove an image and return its predictions."""
        return self._images.pop(image_id)

    def of_level(self, level: int) -> "Predictions":
        """The boxes of one level in the same order; images without such boxes are kept."""
        result = Predictions(self.name)
        result._images = {part.image_id: part.choose(part.levels == level) for part in self}
        return result

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that occur, in increasing order; 0 means unknown."""
        return tuple(sorted({int(level) for part in self for level in np.unique(part.levels)}))

    @property
    def count(self) -> int:
        """Number of boxes in all images."""
        return sum(map(len, self._images.values()))

    @property
    def image_ids(self) -> tuple[ImageId, ...]:
        return tuple(self._images)

    def __getitem__(self, image_id: ImageId) -> ImagePredictions:
        found = self._images.get(image_id)
        return _nothing(image_id) if found is None else found

    def __contains__(self, image_id: ImageId) -> bool:
        return image_id in self._images

    def __iter__(self) -> Iterator[ImagePredictions]:
        return iter(self._images.values())

    def __len__(self) -> int:
        """Number of images, with or without boxes."""
        return len(self._images)


def gather(parts: Iterable[ImagePredictions], name: str) -> Predictions:
    """Collect a stream of predictions; an image may occur in several parts."""
    collected: dict[ImageId, list[ImagePredictions]] = {}
    for part in parts:
        collected.setdefault(part.image_id, []).append(part)
    proposals = Predictions(name)
    for image_id in list(collected):
        of_image = collected.pop(image_id)  # one image at a time, so that memory does not hold all boxes twice
        names = ("xywh", "scores", "categories", "levels")
        columns = ([getattr(part, name) for part in of_image] for name in names)
        proposals.add_xywh(image_id, *(parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in columns))
    return proposals


def to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Convert `[..., 4]` from `[y1, x1, y2, x2]` to float64 `[x, y, width, height]`."""
    y1, x1, y2, x2 = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    return np.stack([x1, y1, x2 - x1, y2 - y1], axis=-1)


def corners(xywh: np.ndarray) -> np.ndarray:
    """Convert `[..., 4]` from `[x, y, width, height]` to float64 `[y1, x1, y2, x2]`."""
    x, y, width, height = np.moveaxis(np.asarray(xywh, np.float64), -1, 0)
    return np.stack([y, x, y + height, x + width], axis=-1)


def _nothing(image_id: ImageId) -> ImagePredictions:
    return ImagePredictions(image_id, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
