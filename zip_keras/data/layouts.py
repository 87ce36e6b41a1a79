"""Detection of a dataset's format, for the specs `DIR` and `DIR:SPLIT` that name none."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field

from zip_keras.data.formats.files import IMAGE_SUFFIXES
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_bytes

_HEAD = 1 << 16  # bytes of a JSON or CSV file that are read to detect its kind
_COCO_KEYS = re.compile(rb'"(images|annotations|categories)"\s*:')
_CSV_HEADS = (b"filename", b"ImageID")
_OWN_FILES = ("dataset.json", "job.json")


@dataclass
class Contents:
    """Files of a folder and its subfolders by kind; paths are relative to the folder.

    Attributes:
        images, xml, texts: number of files of the kind in each subfolder ("." is the folder itself).
        coco, csv, yolo: annotation files that describe many images.
    """

    images: Counter[str] = field(default_factory=Counter)
    xml: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    coco: list[str] = field(default_factory=list)
    csv: list[str] = field(default_factory=list)
    yolo: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """`120 images in photos, 118 XML files in labels`."""
        found = [
            f"{count} {what} in {folder}"
            for what, counts in (("images", self.images), ("XML files", self.xml), ("text files", self.texts))
            for folder, count in counts.most_common(3)
        ]
        found += [*self.coco[:3], *self.csv[:3], *self.yolo[:3]]
        return ", ".join(found) or "no images and no annotations"


def look_into(folder: str) -> Contents:
    """Count the files of a folder and its subfolders; only the first bytes of JSON and CSV files are read."""
    contents = Contents()
    for root, folders, names in os.walk(folder):
        folders.sort()
        place = os.path.relpath(root, folder)
        for name in sorted(names):
            lower, path = name.lower(), os.path.normpath(os.path.join(place, name))
            if lower.endswith(IMAGE_SUFFIXES):
                contents.images[place] += 1
            elif lower.endswith(".xml"):
                contents.xml[place] += 1
            elif lower.endswith(".txt"):
                contents.texts[place] += 1
            elif lower.endswith(".json") and name not in _OWN_FILES and _COCO_KEYS.search(_head(root, name)):
                contents.coco.append(path)
            elif lower.endswith(".csv") and any(head in _head(root, name).partition(b"\n")[0] for head in _CSV_HEADS):
                contents.csv.append(path)
            elif lower.endswith((".data", ".yaml", ".yml")) and place == ".":
                contents.yolo.append(path)
    return contents


def guess_format(folder: str, split: str | None) -> tuple[str, list[str]]:
    """Detect the format of a folder; return it and the parts of its full spec.

    Args:
        folder: an existing folder.
        split: the text after the colon; None if there is no colon.

    Returns:
        `("voc", [folder, "train"])`, `("coco", [file])`, `("csv", [file])`, `("yolo", [folder, "train"])`, ...

    Raises:
        UserError: the format is ambiguous; the message says what was found and which spec works.
    """
    from zip_keras.data.tfrecord.shards import shard_paths

    if split is None and shard_paths(folder):
        return "records", [folder]
    lists = os.path.join(folder, "ImageSets", "Main")
    if os.path.isdir(lists):
        if split is not None:
            return "voc", [folder, split]
        there = sorted(name[:-4] for name in os.listdir(lists) if name.endswith(".txt"))
        raise UserError(
            f"{folder}: which split? Write {folder}:{next(iter(there), 'all')}; there are: {', '.join(there)}, all"
        )
    inner = folder if split in (None, "all") else os.path.join(folder, str(split))
    inside = look_into(inner) if os.path.isdir(inner) else Contents()
    contents = inside if inner == folder else look_into(folder)
    if contents.yolo and any(contents.texts.values()):
        return "yolo", [folder, split or "train"]
    if inside.xml:
        return "voc", [folder, split or "all"]
    for kind, files in (("coco", inside.coco), ("csv", inside.csv)):
        if len(files) == 1:
            return kind, [os.path.join(inner, files[0])]
    raise UserError(f"{folder}{f':{split}' if split else ''}: {_advice(folder, split, contents)}")


def _advice(folder: str, split: str | None, contents: Contents) -> str:
    """Text of an error message: the files found and the spec to use."""
    found = f"found {contents}"
    if split not in (None, "all") and contents.xml:
        return (
            f"no split {split!r}: there is neither ImageSets/Main/{split}.txt nor a folder {split} with XML files; "
            f"{found}; write {folder}:all for all of it, or {folder}:all@0.8 and {folder}:all@0.8-1 for a random split"
        )
    for kind, files in (("coco", contents.coco), ("csv", contents.csv)):
        if files:
            names = ", ".join(f"{kind}:{os.path.join(folder, file)}" for file in files[:5])
            return f"which file? {found}; write one of {names}"
    if contents.images and contents.texts:
        return (
            f"{found}; YOLO labels need the class names: write {os.path.join(folder, 'data.yaml')} with the keys "
            f"'train: images' (the folder of images) and 'names: [...]', and name the data set yolo:{folder}"
        )
    if contents.images:
        return f"{found}, but no annotations (VOC XML, COCO json, csv, YOLO labels)"
    return f"which split, and of what? {found}; a data set is DIR:SPLIT, FILE.json, FILE.csv or FORMAT:..."


def _head(folder: str, name: str) -> bytes:
    try:
        return read_bytes(os.path.join(folder, name), _HEAD, only=_HEAD)
    except UserError:
        return b""
