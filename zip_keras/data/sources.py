"""Datasets by spec: `open_dataset("data/voc07:val")`. All commands take the same specs."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from zip_keras.data.annotations import ImageAnnotation, PixelConvention
from zip_keras.data.checks.defects import BoxPolicy, DefectLog, ImagePolicy
from zip_keras.data.checks.validation import to_record
from zip_keras.data.layouts import guess_format
from zip_keras.data.records import Dataset, ImageRecord
from zip_keras.errors import UserError

JOIN = " + "
FORMATS = ("voc", "coco", "csv", "imagenet", "yolo", "records", "tfds")
_SHARE = re.compile(r"(.+)@(\d*\.?\d+)(?:-(\d*\.?\d+))?(?:,seed=(\d{1,9}))?")


def open_dataset(
    spec: str,
    *,
    classes: Sequence[str] | None = None,
    on_defect: BoxPolicy = "error",
    on_bad_image: ImagePolicy | None = None,
    pixels: PixelConvention = "continuous",
    need_images: bool = True,
    log: DefectLog | None = None,
) -> Dataset:
    """Read the annotations of a dataset. Images are not decoded; headers are read only if no size is stated.

    Args:
        spec: one of
            `voc:DIR:SPLIT[:IMAGE_DIR]` or plain `DIR:SPLIT`: a devkit, or XML files in any folders beside or among the
            images, with the split `all` or the name of a subfolder;
            `coco:FILE.json[:IMAGE_DIR]` or plain `FILE.json`;
            `csv:FILE.csv[:IMAGE_DIR]` or plain `FILE.csv`, of TensorFlow Object Detection or OpenImages;
            `imagenet:DIR:SPLIT[:IMAGE_DIR]`;
            `yolo:DIR[:SPLIT[:IMAGE_DIR]]`, darknet or ultralytics layout, split `train` by default;
            `records:DIR[:PREFIX]` or plain `DIR` with TFRecord shards; PREFIX selects shards by the start of the name;
            `tfds:NAME:SPLIT`, for example `tfds:voc/2007:train`.
            The format of a plain `DIR` or `DIR:SPLIT` is detected from the files in it.
            `SPEC@0.8` is a random 80 % of the images and `SPEC@0.8-1` the rest; append `,seed=N` for another draw. The
            class names are those of the whole dataset.
            Specs joined by ` + `, such as `data/voc07:train + data/voc12:train`, are concatenated into one dataset
            with the class names of all parts.
        classes: class names in index order. None: the names found in all splits of the dataset.
        on_defect: policy for a bad box: `error`, `skip` it, or `clip` it to the image.
        on_bad_image: policy for a missing or broken file: `error` or `skip` it; None follows `on_defect`.
            The error lists all missing images together.
        pixels: meaning of the coordinates. `continuous` takes them as edges in every format, as the TF Object
            Detection API and TFDS do, so a dataset has the same boxes in all formats. The VOC devkit documents
            inclusive pixel numbers that start at 1; `one_based` subtracts 1 from xmin and ymin.
        need_images: whether a missing image is a defect; ground truth for evaluation needs no images.
        log: judges and records defects in place of `on_defect` and `on_bad_image`.

    Returns:
        The dataset; its `skipped` counts the defects that the policy accepted.

    Raises:
        UserError: the spec, a file or an annotation is wrong; the message names file, object and fix.
    """
    if log is None:
        log = DefectLog(on_defect, on_bad_image or ("error" if on_defect == "error" else "skip"))
    dataset = _open(spec, classes, pixels, need_images, log)
    log.check_missing(spec)
    return dataset


def _open(
    spec: str, classes: Sequence[str] | None, pixels: PixelConvention, need_images: bool, log: DefectLog
) -> Dataset:
    """`open_dataset` without the final `DefectLog.check_missing`."""
    options: dict[str, Any] = {"classes": classes, "pixels": pixels, "need_images": need_images, "log": log}
    if JOIN in spec:
        return _join(spec, [_open(part.strip(), **options) for part in spec.split(JOIN)], classes, log)
    if match := _SHARE.fullmatch(spec):
        return _share(spec, _open(match[1], **options), log, *match.groups()[1:])
    kind, parts = split_spec(spec)
    if kind in ("records", "tfds"):
        return _open_records(spec, kind, parts, classes, log, pixels)
    annotations, names = _read(spec, kind, parts, log, want_names=classes is None)
    class_names = _class_names(spec, names, classes)
    index = {name: i for i, name in enumerate(class_names)}
    records: list[ImageRecord] = []
    for annotation in annotations:
        if not need_images and annotation.image_file is None:
            annotation = dataclasses.replace(annotation, image_file=annotation.image_name)
        sized = _with_size(annotation, log)
        record = to_record(sized, index, pixels, log) if sized else None
        if record is not None:
            records.append(record)
    if not records:
        log.check_missing(spec)
        raise UserError(f"{spec}: no image is left" + (f" (skipped: {log.counts()})" if log.defects else ""))
    return Dataset(spec, class_names, tuple(records), log.counts())


def is_compound(spec: str) -> bool:
    """Whether a spec names a share of a dataset or joins several datasets."""
    return JOIN in spec or _SHARE.fullmatch(spec) is not None


def _share(spec: str, whole: Dataset, log: DefectLog, first: str, last: str | None, seed: str | None) -> Dataset:
    """The images between two fractions of a random order.

    The order depends only on the seed and the image ids, so it is the same on every machine.
    """
    start, end = (0.0, float(first)) if last is None else (float(first), float(last))
    if not 0 <= start < end <= 1:
        raise UserError(f"{spec}: a share is @0.8, or a part @0.8-1, with fractions from 0 to 1 that increase")

    def place(record: ImageRecord) -> bytes:
        return hashlib.sha256(f"{seed or 0} {record.image_id!r}".encode("utf-8", "surrogateescape")).digest()

    drawn = sorted(range(len(whole)), key=lambda index: place(whole.records[index]))
    chosen = sorted(drawn[round(start * len(whole)) : round(end * len(whole))])
    if not chosen:
        log.check_missing(spec)
        raise UserError(f"{spec}: no image of {len(whole)} falls into this share; take a larger one")
    return dataclasses.replace(whole, spec=spec, records=tuple(whole.records[index] for index in chosen))


def _join(spec: str, datasets: Sequence[Dataset], classes: Sequence[str] | None, log: DefectLog) -> Dataset:
    """Concatenate datasets; image ids must be unique across them."""
    names = tuple(classes or dict.fromkeys(name for dataset in datasets for name in dataset.class_names))
    number = {name: index for index, name in enumerate(names)}
    records: list[ImageRecord] = []
    owner: dict[int | str, int] = {}
    for place, dataset in enumerate(datasets):
        new = np.array([number[name] for name in dataset.class_names], np.int32)
        for record in dataset.records:
            if (first := owner.setdefault(record.image_id, place)) != place:
                raise UserError(
                    f"{spec}: image {record.image_id!r} is in {datasets[first].spec} and in {dataset.spec}; join "
                    "splits that share no image, or rename the files"
                )
            records.append(dataclasses.replace(record, classes=new[record.classes]))
    return Dataset(spec, names, tuple(records), log.counts())


def split_spec(spec: str) -> tuple[str, list[str]]:
    """`"voc:data/voc07:val"` -> `("voc", ["data/voc07", "val"])`; the format of plain forms is detected from the files.

    Raises:
        UserError: no format matches.
    """
    kind, *parts = spec.split(":")
    if kind in FORMATS:
        if not parts or not parts[0]:
            raise UserError(f"{spec!r}: no folder or file after {kind}:")
        return kind, parts
    parts = [kind, *parts]
    if parts[0].endswith(".json"):
        return "coco", parts
    if parts[0].lower().endswith(".csv"):
        return "csv", parts
    if len(parts) <= 2 and os.path.isdir(parts[0]):
        return guess_format(parts[0], parts[1] if len(parts) == 2 and parts[1] else None)
    if len(parts) == 1:
        raise UserError(
            f"{spec}: no such folder; a data set is DIR:SPLIT, FILE.json, FILE.csv or one of {', '.join(FORMATS)}:..."
        )
    return "voc", parts


def _read(
    spec: str, kind: str, parts: list[str], log: DefectLog, want_names: bool
) -> tuple[list[ImageAnnotation], list[str]]:
    files = {"coco": "FILE.json", "csv": "FILE.csv"}
    limit = 2 if kind in files else 3
    if len(parts) > limit:
        raise UserError(f"{spec}: too many parts; write {kind}:{files.get(kind, 'DIR:SPLIT')}:IMAGE_DIR")
    path, *rest = parts
    image_folder = (rest[limit - 2 :] or [""])[0] or None
    split = rest[0] if rest and rest[0] else None
    if kind == "coco":
        from zip_keras.data.formats.coco import read_coco

        return read_coco(path, log, image_folder=image_folder)
    if kind == "csv":
        from zip_keras.data.formats.csv import read_csv

        return read_csv(path, log, lambda file: _size_of(file, log), image_folder=image_folder)
    if kind == "imagenet":
        from zip_keras.data.formats.imagenet import read_imagenet

        return read_imagenet(path, split or "all", log, image_folder=image_folder)
    if kind == "yolo":
        from zip_keras.data.formats.yolo import read_yolo

        return read_yolo(path, split or "train", log, lambda file: _size_of(file, log), image_folder=image_folder)
    from zip_keras.data.formats.voc import ALL, read_voc

    return read_voc(path, split or ALL, log, image_folder=image_folder, want_names=want_names)


def _open_records(
    spec: str, kind: str, parts: list[str], classes: Sequence[str] | None, log: DefectLog, pixels: PixelConvention
) -> Dataset:
    from zip_keras.data.tfrecord.shards import read_index, read_records, shard_paths

    if kind == "tfds":
        from zip_keras.data.formats.tfds import cached_records

        parts = [cached_records(parts[0], ":".join(parts[1:]))]
        for shard in shard_paths(parts[0]):
            index = read_index(shard)
            for defect in index.defects if index else ():
                log.box(defect.kind, defect.file, defect.detail)
    names, records = read_records(parts[0], parts[1] if len(parts) > 1 else "", log, pixels)
    class_names = _class_names(spec, names, classes)
    if class_names != tuple(names):
        records = [_renumbered(record, names, class_names, log) for record in records]
    return Dataset(spec, class_names, tuple(records), log.counts())


def _renumbered(record: ImageRecord, names: Sequence[str], classes: Sequence[str], log: DefectLog) -> ImageRecord:
    """The record with class indices into `classes`; objects of other classes are defects."""
    number = {name: i for i, name in enumerate(classes)}
    kept = []
    for position, index in enumerate(record.classes):
        if names[index] in number:
            kept.append(position)
        else:
            detail = f'image {record.image_id!r}, object {position + 1} has the unknown class "{names[index]}"'
            log.box("unknown_class", record.file, detail)
    return dataclasses.replace(
        record,
        classes=np.array([number[names[record.classes[i]]] for i in kept], np.int32),
        **{key: getattr(record, key)[kept] for key in ("boxes", "difficult", "crowd", "area")},
    )


def _class_names(spec: str, found: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(found if given is None else given)
    if len(set(names)) < len(names):
        raise UserError(f"{spec}: a class name occurs twice in {list(names)}")
    return names


def _with_size(annotation: ImageAnnotation, log: DefectLog) -> ImageAnnotation | None:
    """The annotation with the image size, read from the image header if the annotation states none."""
    if annotation.image_file is None or (annotation.height is not None and annotation.width is not None):
        return annotation
    if not os.path.isfile(annotation.image_file):
        raise UserError(f"{annotation.source}: states no image size, and {annotation.image_file} is not there to ask")
    size = _size_of(annotation.image_file, log)
    return dataclasses.replace(annotation, height=size[0], width=size[1]) if size else None


def _size_of(file: str, log: DefectLog) -> tuple[int, int] | None:
    """Height and width of an image file with EXIF rotation applied; None if it is broken or rotated and skipped."""
    from zip_keras.data.checks.images import inspect_file

    try:
        info = inspect_file(file)
    except UserError as error:
        log.image("broken_image", file, str(error).removeprefix(f"{file}: "))
        return None
    if info.orientation != 1:
        detail = dict(info.defects())["exif_rotated"]
        if log.image("exif_rotated", file, detail) == "skipped":
            return None
    return info.upright_size
