"""ImageNet-DET: VOC-like XML with WNIDs or class names.

The layout is `Annotations/NAME.xml`, images in `Data/NAME.JPEG` (or `JPEGImages`) and `ImageSets/SPLIT.txt` (or
`ImageSets/Main`), each also one level deeper in `DET`. Names may contain folders
(`ILSVRC2014_train_0000/ILSVRC2014_train_00000018`). If the folder holds the devkit's `map_det.txt` (`WNID index name`),
WNIDs are replaced by names.

Coordinates are continuous edges: ILSVRC files contain xmin 0 as well as xmax = width.
"""

import os

from zip_keras.data.annotations import ImageAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.formats.files import images_by_stem, read_lines, read_list
from zip_keras.data.formats.xml import read_xml
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError


def read_imagenet(
    folder: str, split: str, log: DefectLog, *, image_folder: str | None = None
) -> tuple[list[ImageAnnotation], list[str]]:
    """Read one split.

    Args:
        folder: folder with `Annotations`.
        split: name of a list in `ImageSets`, or `all` for every XML file.
        log: judges files that cannot be read.
        image_folder: folder of the images, if not in `folder`.

    Returns:
        The annotations in the order of the list, and the class names: those of `map_det.txt` in its order, otherwise
        the sorted names in all annotation files.

    Raises:
        UserError: a folder or list is missing, or an annotation file is broken and the policy is `error`.
    """
    root = _first_folder(folder, ("Annotations",))
    if root is None:
        raise UserError(f"{folder}: no Annotations folder; give the folder that holds Annotations and ImageSets")
    inside = _trees(root, split)
    names = _xml_names(inside)
    listed = _split_names(folder, split, names)
    image_folder = image_folder or _first_folder(folder, ("Data", "JPEGImages", "images")) or folder
    images = images_by_stem(image_folder)
    by_stem = {os.path.basename(key): path for key, path in images.items()}
    synsets = _synsets(folder)
    found: list[ImageAnnotation] = []
    seen: set[str] = set()
    wanted = set(listed)
    for name in [*listed, *(name for name in names if name not in wanted)]:
        path = names.get(name) or os.path.join(inside[0], f"{name}.xml")
        try:
            xml = read_xml(path)
        except UserError as error:
            if name in wanted:
                log.image("broken_annotation", path, str(error).removeprefix(f"{path}: "))
            continue
        seen.update(item.name for item in xml.objects)
        if name in wanted:
            file = images.get(name) or by_stem.get(os.path.basename(name))
            shown = f"{os.path.join(image_folder, name)}.JPEG"
            found.append(
                ImageAnnotation(image_id_of(name + ".xml"), path, file, xml.height, xml.width, xml.objects, shown)
            )
    if not synsets:
        return found, sorted(seen)
    return [_renamed(annotation, synsets) for annotation in found], list(dict.fromkeys(synsets.values()))


def _first_folder(folder: str, candidates: tuple[str, ...]) -> str | None:
    return next((p for c in candidates if os.path.isdir(p := os.path.join(folder, c))), None)


def _trees(annotations: str, split: str) -> list[str]:
    """Folders to which the names of a split may be relative, the most specific first."""
    candidates = [("DET", split), ("DET",), (split,), ()]
    return [p for parts in candidates if os.path.isdir(p := os.path.join(annotations, *parts))]


def _xml_names(trees: list[str]) -> dict[str, str]:
    """`{name without suffix: path}` of all XML files, with names relative to the most specific tree."""
    names: dict[str, str] = {}
    known: set[str] = set()
    for tree in trees:
        for root, folders, files in os.walk(tree):
            folders.sort()
            for file in sorted(files):
                path = os.path.join(root, file)
                if file.endswith(".xml") and path not in known:
                    known.add(path)
                    names.setdefault(os.path.relpath(path, tree)[:-4].replace(os.sep, "/"), path)
    return names


def _split_names(folder: str, split: str, names: dict[str, str]) -> list[str]:
    for lists in (("ImageSets", "Main"), ("ImageSets", "DET"), ("ImageSets",)):
        path = os.path.join(folder, *lists, f"{split}.txt")
        if os.path.isfile(path):
            return read_list(path, known=names)
    if split == "all" and names:
        return sorted(names)
    raise UserError(
        f'{folder}: no list ImageSets/Main/{split}.txt (nor in ImageSets, ImageSets/DET); or use split "all"'
    )


def _synsets(folder: str) -> dict[str, str]:
    for parts in (("map_det.txt",), ("devkit", "data", "map_det.txt")):
        path = os.path.join(folder, *parts)
        if os.path.isfile(path):
            rows = [line.split(maxsplit=2) for line in read_lines(path) if line.strip()]
            if any(len(row) < 3 for row in rows):
                raise UserError(f"{path}: every line must be WNID, index, name")
            return {row[0]: row[2].strip() for row in rows}
    return {}


def _renamed(annotation: ImageAnnotation, synsets: dict[str, str]) -> ImageAnnotation:
    from dataclasses import replace

    return replace(annotation, objects=[replace(o, name=synsets.get(o.name, o.name)) for o in annotation.objects])
