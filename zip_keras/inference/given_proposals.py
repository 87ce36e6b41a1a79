"""Read proposal files of any method as input to a detector's second stage. Paper, Table 7."""

from collections.abc import Iterable, Sequence

import numpy as np

from zip_keras.config import ExperimentConfig
from zip_keras.data.given import GivenProposals
from zip_keras.data.records import Dataset
from zip_keras.errors import UserError
from zip_keras.predictions.container import ImageId
from zip_keras.predictions.formats import read_predictions

_NAMED = 5  # number of missing images listed in an error


def read_given_proposals(file: str, image_ids: Iterable[ImageId], count: int) -> list[GivenProposals]:
    """Read the best `count` proposals of each image, in the order of `image_ids`. The file may contain other images.

    Args:
        file: json, csv, npz or parquet; see `zip_keras.predictions.formats`.
        image_ids: as in `ImageRecord`.
        count: maximum number of proposals per image.

    Raises:
        UserError: the file cannot be read, lacks an image, or contains an invalid box.
    """
    found = read_predictions(file)
    ids = list(image_ids)
    missing = [image_id for image_id in ids if image_id not in found]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise UserError(
            f"{file}: has no proposals of {len(missing)} of {len(ids)} images: "
            f"{', '.join(map(repr, missing[:_NAMED]))}{more} (it has {len(found)} images, for example "
            f"{', '.join(map(repr, found.image_ids[:3])) or 'none'}); write proposals of these images too. An .npz "
            "file can also say that an image has none"
        )
    given = []
    for image_id in ids:
        part = found[image_id]
        bad = ~(np.isfinite(part.xywh).all(axis=1) & (part.xywh[:, 2:] > 0).all(axis=1))
        if bad.any():
            raise UserError(
                f"{file}: image {image_id!r}: box {part.xywh[int(np.argmax(bad))].tolist()} (x, y, width, height) "
                "needs finite numbers, and a width and height above 0; fix the file"
            )
        best = part.choose(np.arange(len(part))[:count])
        given.append(GivenProposals(best.boxes, best.levels.astype(np.int32)))
    return given


def check_inside(file: str, image_id: ImageId, size: Sequence[float], given: GivenProposals) -> None:
    """Raise `UserError` if the centre of a box lies outside the image of `size` (height, width) pixels."""
    centre = (given.boxes[:, :2] + given.boxes[:, 2:]) / 2
    outside = ~np.all((centre >= 0) & (centre <= np.asarray(size)), axis=1)
    if outside.any():
        raise UserError(
            f"{file}: image {image_id!r}: the centre of box {given.boxes[int(np.argmax(outside))].tolist()} (y1, x1, "
            f"y2, x2) lies outside the image of {size[0]:.0f} x {size[1]:.0f} pixels; boxes must be in pixels of the "
            "original image: were they made at another size?"
        )


def given_proposals_of(file: str, dataset: Dataset, count: int) -> list[GivenProposals]:
    """Read the best `count` proposals of each record of a data set, in the order of its records.

    Raises:
        UserError: see `read_given_proposals` and `check_inside`.
    """
    given = read_given_proposals(file, (record.image_id for record in dataset.records), count)
    for record, of_image in zip(dataset.records, given, strict=True):
        check_inside(file, record.image_id, (record.height, record.width), of_image)
    return given


def open_given_proposals(
    config: ExperimentConfig, train: Dataset, validation: Dataset | None
) -> tuple[list[GivenProposals] | None, list[GivenProposals] | None]:
    """Read the training and validation proposals from the files named in a config; None: use the network's proposals.

    Raises:
        UserError: see `given_proposals_of`.
    """
    data = config.data
    if not data.train_proposals:
        return None, None
    of_train = given_proposals_of(data.train_proposals, train, config.detector.targets.proposals)
    if validation is None:
        return of_train, None
    return of_train, given_proposals_of(data.val_proposals, validation, config.postprocess.max_proposals)
