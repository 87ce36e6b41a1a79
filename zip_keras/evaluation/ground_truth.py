"""What proposals are measured against: the objects of a data set as flat arrays."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zip_keras.data.records import Dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.proposals import ImageId, to_xywh


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
        xywh: float64 `[G, 4]`, `[x, y, width, height]` in pixels, as a COCO json states them (see `ImageProposals`).
        areas: float64 `[G]`, square pixels, by which an object is small, medium or large.
        classes: int32 `[G]`.
        crowd: bool `[G]`, ignored; in COCO AP a crowd takes any number of detections.
        difficult: bool `[G]`, ignored: neither missed when not found nor a false alarm when found.
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
    _refuse_duplicates(ids, dataset.spec)

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
    )


def read_ground_truth(spec: str, on_bad_object: Literal["error", "skip", "clip"] = "error") -> GroundTruth:
    """Reads the objects that a data set spec names; image files are not needed for a COCO json.

    A COCO json is read here, not through `open_dataset`, because records hold float32 corners and protocol `coco` is
    defined on the json's own doubles.

    Args:
        spec: `DEVKIT:SPLIT`, `instances.json` or any other spec of `zip_keras.data.sources.open_dataset`.
        on_bad_object: what to do with an annotation that is no box; objects left out are neither missed nor counted.
            A COCO json's boxes without width or height are counted, and missed, as by pycocotools.

    Raises:
        UserError: the data is missing or broken.
    """
    plain = spec.removeprefix("coco:")
    file = plain if plain.endswith(".json") else plain.partition(".json:")[0] + ".json"
    if plain.endswith(".json") or ".json:" in plain:
        return _read_coco(file, spec)
    from zip_keras.data.sources import open_dataset

    try:
        return from_dataset(open_dataset(spec, on_defect=on_bad_object, need_images=False))
    except UserError as error:
        hint = "; to measure without such objects: --on-bad-object=skip" if "--on-bad-box" in str(error) else ""
        raise UserError(f"{error}{hint}") from None


def _read_coco(file: str, spec: str) -> GroundTruth:
    content = load_json(file)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        raise UserError(
            f"{file}: not a COCO instances file: it needs the keys 'images' and 'annotations'; "
            "give proposals with --proposals and ground truth with --ground-truth"
        )
    images = _entries(content, "images", ("id",), file)
    annotations = _entries(content, "annotations", ("image_id", "bbox"), file)
    ids = tuple(image["id"] for image in images)
    _refuse_duplicates(ids, file)
    number = {image_id: index for index, image_id in enumerate(ids)}
    categories = {c["id"]: c.get("name", str(c["id"])) for c in _entries(content, "categories", ("id",), file)}
    for annotation in annotations:  # a file without a list of categories still has class-agnostic proposals measured
        categories.setdefault(annotation.get("category_id", 1), str(annotation.get("category_id", 1)))
    class_of = {category: index for index, category in enumerate(categories)}
    for annotation in annotations:
        if annotation["image_id"] not in number:
            raise UserError(
                f"{file}: annotation {annotation.get('id')} belongs to image {annotation['image_id']!r}, which is not "
                "in 'images'; add the image or remove the annotation"
            )
    image_of = np.array([number[a["image_id"]] for a in annotations], np.int64)
    order = np.argsort(image_of, kind="stable")
    annotations = [annotations[index] for index in order]
    xywh = _boxes(annotations, file)
    return GroundTruth(
        spec=spec,
        class_names=tuple(categories.values()),
        category_ids=tuple(categories),
        image_ids=ids,
        sizes=np.array([(i.get("height", np.nan), i.get("width", np.nan)) for i in images], float).reshape(-1, 2),
        starts=np.concatenate([[0], np.cumsum(np.bincount(image_of, minlength=len(ids)))]).astype(np.int64),
        xywh=xywh,
        areas=np.array([a.get("area", box[2] * box[3]) for a, box in zip(annotations, xywh, strict=True)], float),
        classes=np.array([class_of[a.get("category_id", 1)] for a in annotations], np.int32),
        crowd=np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool),
        difficult=np.array([bool(a.get("difficult", 0)) for a in annotations], bool),
    )


def load_json(file: str) -> Any:
    """The content of a json file.

    Raises:
        UserError: missing, not text, or not json.
    """
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not json: {error}") from None


def _entries(content: dict, key: str, needed: tuple[str, ...], file: str) -> list[dict]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise UserError(f"{file}: '{key}' is not a list")
    for position, entry in enumerate(entries):
        missing = [name for name in needed if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise UserError(f"{file}: {key}[{position}] has no '{missing[0]}'")
    return entries


def _boxes(annotations: list[dict], file: str) -> np.ndarray:
    for annotation in annotations:
        box = annotation["bbox"]
        numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
        if not numbers or not np.isfinite(box).all() or min(box[2:]) < 0:
            raise UserError(
                f"{file}: annotation {annotation.get('id')} of image {annotation['image_id']!r} has the box {box}; it "
                "must be four finite numbers [x, y, width, height] with width and height not below 0"
            )
    return np.array([annotation["bbox"] for annotation in annotations], np.float64).reshape(-1, 4)


def _refuse_duplicates(ids: tuple[ImageId, ...], source: str) -> None:
    if len(set(ids)) < len(ids):
        seen: set[ImageId] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise UserError(f"{source}: image {twice!r} is there twice; proposals could not be told apart; remove one")
