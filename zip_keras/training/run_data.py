"""Training and validation data of a run, checked before the first step."""

import dataclasses
from collections.abc import Sequence

from zip_keras.config import ExperimentConfig
from zip_keras.data.checks.defects import ALL_KINDS, NAMED
from zip_keras.data.checks.image_files import without_bad_images
from zip_keras.data.records import Dataset
from zip_keras.data.sources import open_dataset
from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import from_dataset
from zip_keras.inference.inputs import IMAGE_SUFFIXES
from zip_keras.training.run_folder import say


def open_data(config: ExperimentConfig) -> tuple[Dataset, Dataset | None]:
    """Open training and validation data.

    Validation data use the class names of the training data and at most `train.evaluate_images` images.

    Raises:
        UserError: anything is wrong with the data.
    """
    data = config.data
    if not data.train:
        raise UserError("data.train is empty; name a data set, for example data.train=data/voc07:train")
    dataset = open_dataset(data.train, on_defect=data.on_defect)
    if not dataset.records:
        raise UserError(f"data.train {data.train}: no images in it")
    dataset = _without_bad_images(_first(dataset, data.train_images), data.on_defect)
    _tell_skipped(dataset)
    dataset = _of_seen_classes(dataset, data.unseen_classes)
    if not data.val:
        return dataset, None
    validation = open_dataset(data.val, classes=dataset.class_names, on_defect=data.on_defect)
    if not validation.records:
        raise UserError(f"data.val {data.val}: no images in it")
    validation = _without_bad_images(_first(validation, config.train.evaluate_images), data.on_defect)
    _tell_skipped(validation)
    check_measurable(validation)
    return dataset, validation


def _of_seen_classes(dataset: Dataset, unseen: Sequence[str]) -> Dataset:
    """The dataset without the objects of the unseen classes; prints how many were dropped."""
    if not unseen:
        return dataset
    seen = dataset.without_classes(unseen)
    before, after = (sum(len(record.boxes) for record in some.records) for some in (dataset, seen))
    say(f"{dataset.spec}: {before - after} of {before} objects are of data.unseen_classes and left out")
    return seen


def _without_bad_images(dataset: Dataset, on_defect: str) -> Dataset:
    """Under `skip` and `clip`, the dataset without image files that cannot be used; prints the first of them."""
    if on_defect == "error":  # the run ends when the first bad image is read
        return dataset
    sound, left_out = without_bad_images(dataset)
    for line in left_out[:NAMED]:
        say(f"left out: {line}")
    return sound


def _tell_skipped(dataset: Dataset) -> None:
    for kind, count in dataset.skipped.items():
        say(f"{dataset.spec}: {count} x {ALL_KINDS.get(kind, kind)}, as data.on_defect says")


def check_measurable(validation: Dataset) -> None:
    """Raise `UserError` for validation data on which the first evaluation, after hours of training, would fail."""
    from_dataset(validation)
    for record in validation.records:
        if record.length < 0 and not record.file.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                f"{record.file}: validation images must be {', '.join(IMAGE_SUFFIXES)}, which the exported model "
                "decodes; convert it, or prepare records with --on-bad-image repair"
            )


def _first(dataset: Dataset, count: int) -> Dataset:
    return dataclasses.replace(dataset, records=dataset.records[: count or None])
