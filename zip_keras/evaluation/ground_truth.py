"""Ground truth: the objects of a dataset as flat arrays."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from zip_keras.data.records import Dataset
from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId, to_xywh


@dataclass(frozen=True)
class GroundTruth:
    """Objects of images; those of image `i` are the rows `starts[i] : starts[i + 1]`.

    Attributes:
        spec: the spec that the user gave.
        class_names: names in the index order of `classes`.
        category_ids: COCO category id of each class; index + 1 for data without category ids.
        image_ids: unique id of each image.
        sizes: float64 `[I, 2]`, height and width in pixels; NaN if the file does not state them.
        starts: int64 `[I + 1]`.
        xywh: float64 `[G, 4]`, `[x, y, width, height]` in pixels, as in a COCO JSON file (see `ImagePredictions`).
        areas: float64 `[G]`, square pixels, which classify objects as small, medium or large.
        classes: int32 `[G]`, class indices.
        crowd: bool `[G]`, ignored; in COCO AP a crowd matches any number of detections.
        difficult: bool `[G]`, ignored: neither missed if not found nor a false positive if found.
        skipped: number of annotations of each kind skipped under an explicit option.
    """

    spec: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image_ids: tuple[ImageId, ...]
    sizes: np.ndarray
    starts: np.ndarray
    xywh: np.ndarray
    areas: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def counted(self) -> np.ndarray:
        """bool `[G]`: the objects that are neither crowd nor difficult."""
        return ~(self.crowd | self.difficult)

    @property
    def image_of(self) -> np.ndarray:
        """int64 `[G]`: the image index of each object."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.starts))

    def rows(self) -> Iterator[tuple[ImageId, slice]]:
        """Yield each image id with the slice of its objects."""
        for number, image_id in enumerate(self.image_ids):
            yield image_id, slice(int(self.starts[number]), int(self.starts[number + 1]))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image_ids)


def from_dataset(dataset: Dataset) -> GroundTruth:
    """The objects of a dataset as ground truth.

    Raises:
        UserError: two images have the same id.
    """
    records = dataset.records
    ids = tuple(record.image_id for record in records)
    refuse_duplicates(ids, dataset.spec)

    def flat(name: str, dtype: type, shape: tuple[int, ...] = (0,)) -> np.ndarray:
        parts: list[np.ndarray] = [np.asarray(getattr(record, name), dtype) for record in records]
        return np.concatenate([np.zeros(shape, dtype), *(part.reshape((-1, *shape[1:])) for part in parts)])

    return GroundTruth(
        spec=dataset.spec,
        class_names=dataset.class_names,
        category_ids=tuple(range(1, len(dataset.class_names) + 1)),
        image_ids=ids,
        sizes=np.array([(record.height, record.width) for record in records], np.float64).reshape(-1, 2),
        starts=np.cumsum([0, *(len(record.boxes) for record in records)]),
        xywh=to_xywh(flat("boxes", np.float64, (0, 4))),
        areas=flat("area", np.float64),
        classes=flat("classes", np.int32),
        crowd=flat("crowd", bool),
        difficult=flat("difficult", bool),
        skipped=dict(dataset.skipped),
    )


def refuse_duplicates(ids: tuple[ImageId, ...], source: str) -> None:
    """Raise `UserError` if two images have the same id."""
    if len(set(ids)) < len(ids):
        seen: set[ImageId] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise UserError(f"{source}: image {twice!r} is there twice; proposals could not be told apart; remove one")


def numbered_categories(ground_truth: GroundTruth) -> GroundTruth:
    """The objects with category ids renumbered 1, 2, ... in increasing order, as `zip-keras detect` writes them."""
    number = {category: place for place, category in enumerate(sorted(ground_truth.category_ids), 1)}
    return dataclasses.replace(
        ground_truth, category_ids=tuple(number[category] for category in ground_truth.category_ids)
    )


def places_by_id(ground_truth: GroundTruth) -> np.ndarray:
    """int64 `[I]`: image indices in the order of `sorted_ids`, which is the order of COCOeval."""
    place = {image_id: number for number, image_id in enumerate(ground_truth.image_ids)}
    return np.array([place[image_id] for image_id in sorted_ids(ground_truth.image_ids)], np.int64)


def sorted_ids(ids: Iterable[ImageId]) -> list[ImageId]:
    """Sorted image ids: integers first, then strings."""
    return sorted(ids, key=lambda image_id: (isinstance(image_id, str), image_id))
