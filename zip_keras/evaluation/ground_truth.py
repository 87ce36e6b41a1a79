"""What proposals are measured against: the objects of a data set as flat arrays."""

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
        spec: how the user named it.
        class_names: index order of `classes`.
        category_ids: COCO category id of each class; index + 1 for data that has none.
        image_ids: one per image, distinct.
        sizes: float64 `[I, 2]`, height and width in pixels, NaN where the file does not say.
        starts: int64 `[I + 1]`.
        xywh: float64 `[G, 4]`, `[x, y, width, height]` in pixels, as a COCO json states them (see `ImagePredictions`).
        areas: float64 `[G]`, square pixels, by which an object is small, medium or large.
        classes: int32 `[G]`.
        crowd: bool `[G]`, ignored; in COCO AP a crowd takes any number of detections.
        difficult: bool `[G]`, ignored: neither missed when not found nor a false alarm when found.
        skipped: annotations left out under an explicit option, counted by kind.
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
        """bool `[G]`: the objects that a measure asks for."""
        return ~(self.crowd | self.difficult)

    @property
    def image_of(self) -> np.ndarray:
        """int64 `[G]`: the image number of each object."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.starts))

    def rows(self) -> Iterator[tuple[ImageId, slice]]:
        """Image ids with the slice of their objects."""
        for number, image_id in enumerate(self.image_ids):
            yield image_id, slice(int(self.starts[number]), int(self.starts[number + 1]))

    def __len__(self) -> int:
        """Images."""
        return len(self.image_ids)


def from_dataset(dataset: Dataset) -> GroundTruth:
    """The objects of a data set that a reader of `zip_keras.data` gave.

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
    """Raises UserError where two images have one id."""
    if len(set(ids)) < len(ids):
        seen: set[ImageId] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise UserError(f"{source}: image {twice!r} is there twice; proposals could not be told apart; remove one")


def numbered_categories(ground_truth: GroundTruth) -> GroundTruth:
    """The same objects with category ids 1, 2, ... in the order of the old ones, as `zip-keras detect` numbers them."""
    number = {category: place for place, category in enumerate(sorted(ground_truth.category_ids), 1)}
    return dataclasses.replace(
        ground_truth, category_ids=tuple(number[category] for category in ground_truth.category_ids)
    )


def places_by_id(ground_truth: GroundTruth) -> np.ndarray:
    """int64 `[I]`: the numbers of the images in the order of `sorted_ids`, in which COCOeval visits them."""
    place = {image_id: number for number, image_id in enumerate(ground_truth.image_ids)}
    return np.array([place[image_id] for image_id in sorted_ids(ground_truth.image_ids)], np.int64)


def sorted_ids(ids: Iterable[ImageId]) -> list[ImageId]:
    """Integers in order, then texts."""
    return sorted(ids, key=lambda image_id: (isinstance(image_id, str), image_id))
