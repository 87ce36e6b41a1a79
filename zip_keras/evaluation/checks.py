"""Checks that a prediction file fits its ground truth. Problems raise errors or, under an option, are counted."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from zip_keras.errors import UserError
from zip_keras.evaluation.ground_truth import GroundTruth
from zip_keras.predictions.container import ImageId, ImagePredictions, Predictions
from zip_keras.predictions.formats import ReadOptions, read_predictions


@dataclass(frozen=True)
class Policy:
    """What to do with invalid proposals: `error` raises, `skip` drops and counts them.

    Attributes:
        bad_box: a coordinate or score is NaN or infinite, or width or height is not above 0. Any finite score is
            valid, because only the order matters.
        unknown_image: an image id is not in the ground truth.
        outside: the centre of a box is outside the image, for example after detection at another image size. `keep` is
            also allowed.
    """

    bad_box: str = "error"
    unknown_image: str = "error"
    outside: str = "error"


@dataclass
class Checked:
    """The valid proposals, and the number of dropped ones of each kind."""

    proposals: Predictions
    skipped: Counter[str] = field(default_factory=Counter)
    images_without_proposals: int = 0


def load_predictions(
    file: str, ground_truth: GroundTruth, policy: Policy = Policy(), options: ReadOptions | None = None
) -> Checked:
    """Read a prediction file and check it; see `check_predictions`.

    Raises:
        UserError: the file is missing or broken, or violates the policy.
    """
    return check_predictions(read_predictions(file, options), ground_truth, policy, consume=True)


def check_predictions(
    proposals: Predictions, ground_truth: GroundTruth, policy: Policy, consume: bool = False
) -> Checked:
    """Check boxes, scores and image ids against the ground truth.

    Args:
        proposals: predictions to check.
        ground_truth: annotated images.
        policy: what to do with invalid predictions.
        consume: empty `proposals` image by image to save memory.

    Raises:
        UserError: a violation of the policy, or no image in common.
    """
    size_of = dict(zip(ground_truth.image_ids, ground_truth.sizes, strict=True))
    result = Checked(Predictions(proposals.name))
    unknown = [image_id for image_id in proposals.image_ids if image_id not in size_of]
    if len(proposals) and len(unknown) == len(proposals):
        raise _no_image_in_common(proposals, ground_truth)
    if unknown and policy.unknown_image == "error":
        raise UserError(
            f"{proposals.name}: {len(unknown)} of {len(proposals)} images are not in {ground_truth.spec}, the first is "
            f"{unknown[0]!r}; give the matching ground truth or leave them out with --on-unknown-image=skip"
        )
    result.skipped["images not in the ground truth"] += len(unknown)
    for image_id in proposals.image_ids:
        part = proposals.pop(image_id) if consume else proposals[image_id]
        if image_id in size_of:
            kept = _checked(part, size_of[image_id], proposals.name, policy, result.skipped)
            result.proposals.add_xywh(kept.image_id, kept.xywh, kept.scores, kept.categories, kept.levels)
    result.skipped += Counter()  # drops kinds with a count of zero
    result.images_without_proposals = sum(not len(result.proposals[i]) for i in ground_truth.image_ids)
    return result


def check_categories(checked: Checked, ground_truth: GroundTruth, on_unknown: str = "error") -> None:
    """Check that the classes of detections are those of the ground truth.

    Args:
        checked: from `load_predictions`; changed in place.
        ground_truth: defines the classes.
        on_unknown: `error`, or `skip` to drop and count detections of other classes.

    Raises:
        UserError: a category id is not in the ground truth.
    """
    source, kept = checked.proposals, Predictions(checked.proposals.name)
    for image_id in source.image_ids:
        part = source.pop(image_id)
        known: np.ndarray = np.isin(part.categories, ground_truth.category_ids)
        if not known.all() and on_unknown == "error":
            category = part.categories[int(np.argmin(known))]
            raise UserError(
                f"{source.name}: image {image_id!r}: category_id {category} is no class of {ground_truth.spec}, "
                f"whose ids are {_shortly(ground_truth.category_ids)}; if the file counts classes from 1, as zip-keras "
                "detect does, add --category-ids=numbers; leave other classes out with --on-unknown-class=skip"
            )
        checked.skipped["boxes of unknown classes"] += int((~known).sum())
        part = part.choose(known)
        kept.add_xywh(image_id, part.xywh, part.scores, part.categories, part.levels)
    checked.proposals = kept
    checked.skipped += Counter()
    checked.images_without_proposals = sum(not len(kept[image_id]) for image_id in ground_truth.image_ids)


def _shortly(ids: tuple[int, ...]) -> str:
    """The ten smallest ids as text."""
    return ", ".join(map(str, sorted(ids)[:10])) + (", ..." if len(ids) > 10 else "")


def _checked(
    part: ImagePredictions, size: np.ndarray, source: str, policy: Policy, skipped: Counter[str]
) -> ImagePredictions:
    finite: np.ndarray = np.isfinite(part.xywh).all(axis=1) & np.isfinite(part.scores)
    good: np.ndarray = finite & (part.xywh[:, 2:] > 0).all(axis=1)
    if not good.all() and policy.bad_box == "error":
        raise _bad_box(part, int(np.argmin(good)), source)
    skipped["boxes or scores not finite"] += int((~finite).sum())
    skipped["boxes without width or height"] += int((finite & ~good).sum())
    part = part.choose(good)
    if policy.outside == "keep" or np.isnan(size).any():
        return part
    height, width = size
    centre = part.xywh[:, :2] + part.xywh[:, 2:] / 2  # [n, (x, y)]
    inside: np.ndarray = np.all((centre >= 0) & (centre <= (width, height)), axis=1)
    if not inside.all() and policy.outside == "error":
        box = part.xywh[int(np.argmin(inside))].tolist()
        raise UserError(
            f"{source}: image {part.image_id!r}: the centre of box {box} (x, y, width, height) lies outside the image "
            f"of {width:.0f} x {height:.0f} pixels; boxes must be in pixels of the original image: were they made at "
            "another size? Leave such boxes out with --on-outside-box=skip or measure them with --on-outside-box=keep"
        )
    skipped["boxes outside the image"] += int((~inside).sum())
    return part.choose(inside)


def _bad_box(part: ImagePredictions, row: int, source: str) -> UserError:
    box, score = part.xywh[row].tolist(), float(part.scores[row])
    fault = f"score {score}" if not np.isfinite(score) else f"box {box} (x, y, width, height)"
    need = "finite numbers" if not np.isfinite([*box, score]).all() else "a width and height above 0"
    return UserError(
        f"{source}: image {part.image_id!r}: {fault} needs {need}; fix the file or leave such boxes out with "
        "--on-bad-box=skip"
    )


def _no_image_in_common(proposals: Predictions, ground_truth: GroundTruth) -> UserError:
    def examples(ids: tuple[ImageId, ...]) -> str:
        return ", ".join(map(repr, ids[:3]))

    return UserError(
        f"{proposals.name}: none of its {len(proposals)} images ({examples(proposals.image_ids)}, ...) is in "
        f"{ground_truth.spec} ({examples(ground_truth.image_ids)}, ...); image_id is the integer of a numeric file "
        "stem, else the stem, and for a COCO json its own image id"
    )
