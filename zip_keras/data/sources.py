"""Data sets by name: `open_dataset("data/voc07:val")`, the same spec for every command."""

import os
from collections.abc import Sequence

from zip_keras.data.annotations import PixelConvention
from zip_keras.data.defects import BoxPolicy, DefectLog, ImagePolicy
from zip_keras.data.readers.voc import ALL, read_voc
from zip_keras.data.records import Dataset
from zip_keras.data.validation import to_record
from zip_keras.errors import UserError

FORMATS = ("voc", "coco", "imagenet", "yolo", "records", "tfds")


def open_dataset(
    spec: str,
    *,
    classes: Sequence[str] | None = None,
    on_defect: BoxPolicy = "error",
    on_bad_image: ImagePolicy | None = None,
    pixels: PixelConvention | None = None,
    log: DefectLog | None = None,
) -> Dataset:
    """Reads the annotations of a data set; images are not decoded.

    Args:
        spec: `voc:DIR:SPLIT` (or plain `DIR:SPLIT`), see `docs/ARCHITECTURE.md`.
        classes: class names in index order; the names found in all annotations, sorted, when None.
        on_defect: what to do with a bad box: `error`, `skip` it, or `clip` it to the image.
        on_bad_image: what to do with a missing or broken file: `error` or `skip`; None follows `on_defect`.
        pixels: what the file's coordinates count; None takes the format's own convention.
        log: where defects are noted, instead of `on_defect` and `on_bad_image`.

    Returns:
        The data set; its `skipped` counts the defects that the policy passed over.

    Raises:
        UserError: the spec, a file or an annotation is wrong; the message names file, object and fix.
    """
    if log is None:
        log = DefectLog(on_defect, on_bad_image or ("error" if on_defect == "error" else "skip"))
    kind, _, rest = spec.partition(":")
    if kind not in FORMATS:
        kind, rest = "voc", spec
    folder, _, split = rest.partition(":")
    annotations, names = read_voc(folder, split or ALL, log, want_names=classes is None)
    class_names = tuple(names if classes is None else classes)
    index = {name: i for i, name in enumerate(class_names)}
    records = [to_record(annotation, index, pixels or "one_based", log) for annotation in annotations]
    return Dataset(spec, class_names, tuple(r for r in records if r is not None), log.counts())
