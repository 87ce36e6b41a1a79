"""Checks that decode the images of a dataset. Writing shards and training apply the same checks."""

import dataclasses
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.checks.images import ImageInfo, verify
from zip_keras.data.encoded import read_encoded
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError


@dataclasses.dataclass(frozen=True)
class JudgedImage:
    """An image that was not skipped.

    Attributes:
        data: the encoded image.
        info: its header.
        shown: its name in messages.
        to_repair: whether it has a defect that the policy repairs.
    """

    data: bytes
    info: ImageInfo
    shown: str
    to_repair: bool


def judge_image(record: ImageRecord, log: DefectLog) -> JudgedImage | None:
    """Read and decode one image and judge its defects; return None if it is skipped.

    Raises:
        UserError: a defect under the policy `error`.
    """
    if not record.in_shard and not os.path.isfile(record.file):
        log.image("missing_image", record.file, "is not there")
        return None
    shown = record.file if not record.in_shard else f"{record.file} (image {record.image_id!r})"
    try:
        data = read_encoded(record.file, record.offset, record.length)
        info = verify(data, shown)
    except UserError as error:
        log.image("broken_image", shown, str(error).removeprefix(f"{shown}: "))
        return None
    to_repair = False
    for kind, detail in info.defects():
        if kind == "grayscale":
            log.remark(kind, shown, detail)
        elif log.image(kind, shown, detail) == "skipped":
            return None
        else:
            to_repair = True
    stated, stored = (record.height, record.width), (info.height, info.width)
    if stated not in (stored, info.upright_size if to_repair else stored):
        detail = f"is {stored[1]} x {stored[0]} pixels, its annotation says {stated[1]} x {stated[0]}"
        log.image("size_mismatch", shown, detail)
        return None
    return JudgedImage(data, info, shown, to_repair)


def without_bad_images(dataset: Dataset, threads: int | None = None) -> tuple[Dataset, list[str]]:
    """Drop the image files that `prepare_data --on-bad-image skip` would drop; each file is decoded once.

    Images in shards are not read again, because they were checked when the shards were written.

    Args:
        dataset: the dataset to check.
        threads: number of images decoded in parallel; None for one per core.

    Returns:
        The dataset with its `skipped` updated, and the name and reason of each dropped image.

    Raises:
        UserError: no image is left.
    """
    log = DefectLog("skip", "skip")
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        sound = pool.map(lambda record: record.in_shard or judge_image(record, log) is not None, dataset.records)
        records = tuple(record for record, keep in zip(dataset.records, sound, strict=True) if keep)
    left_out = [defect for defect in log.defects if defect.action == "skipped"]
    if not records:
        raise UserError(f"{dataset.spec}: no image is left ({left_out[0].file}: {left_out[0].detail}, ...)")
    skipped = Counter(dataset.skipped) + Counter(defect.kind for defect in left_out)
    named = sorted(f"{defect.file}: {defect.detail}" for defect in left_out)
    return dataclasses.replace(dataset, records=records, skipped=dict(skipped)), named
