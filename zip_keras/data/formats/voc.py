"""PASCAL VOC: one XML file an image.

A devkit has `Annotations/STEM.xml`, `JPEGImages/STEM.jpg` and `ImageSets/Main/SPLIT.txt`. A plain folder of XML files
is read too, with the split `all` and the images beside them or in a folder that is named.
"""

import os

from zip_keras.data.annotations import ImageAnnotation
from zip_keras.data.checks.defects import DefectLog
from zip_keras.data.formats.files import images_by_stem, read_list
from zip_keras.data.formats.xml import XmlAnnotation, read_xml
from zip_keras.data.records import image_id_of
from zip_keras.errors import UserError

ALL = "all"


def read_voc(
    folder: str, split: str, log: DefectLog, *, image_folder: str | None = None, want_names: bool = True
) -> tuple[list[ImageAnnotation], list[str]]:
    """Reads one split of a devkit.

    Args:
        folder: the devkit (it holds `Annotations`), or a plain folder of XML files.
        split: the name of a file in `ImageSets/Main`, or `all` for every XML file.
        log: judges files that cannot be read.
        image_folder: where the images are; `JPEGImages` of the devkit by default.
        want_names: whether to collect class names from every XML file of the devkit, so that all splits agree on them.

    Returns:
        The annotations in the order of the split file, and the sorted class names (empty unless `want_names`).

    Raises:
        UserError: a folder or list is missing, or an annotation file is broken and the policy is `error`.
    """
    annotations = os.path.join(folder, "Annotations")
    is_devkit = os.path.isdir(annotations)
    if not is_devkit:
        annotations = folder
    if image_folder is None:
        image_folder = os.path.join(folder, "JPEGImages") if is_devkit else folder
    stems = _stems(folder, annotations, split)
    images = images_by_stem(image_folder)
    parsed: dict[str, XmlAnnotation] = {}
    found: list[ImageAnnotation] = []
    for stem in stems:
        path = os.path.join(annotations, f"{stem}.xml")
        try:
            xml = read_xml(path)
        except UserError as error:
            log.image("broken_annotation", path, str(error).removeprefix(f"{path}: "))
            continue
        parsed[stem] = xml
        name = f"{os.path.join(image_folder, stem)}.jpg"
        file = images.get(stem)
        found.append(ImageAnnotation(image_id_of(file or name), path, file, xml.height, xml.width, xml.objects, name))
    names = {item.name for xml in parsed.values() for item in xml.objects}
    if want_names:
        names |= _names_elsewhere(annotations, parsed)
    return found, sorted(names) if want_names else []


def _stems(folder: str, annotations: str, split: str) -> list[str]:
    lists = os.path.join(folder, "ImageSets", "Main")
    path = os.path.join(lists, f"{split}.txt")
    if os.path.isfile(path):
        return read_list(path, known=set(xml_stems(annotations)))
    stems = xml_stems(annotations)
    if split == ALL and stems:
        return stems
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder")
    if not stems:
        raise UserError(f"{folder}: no annotations; a VOC devkit has Annotations/*.xml and ImageSets/Main/SPLIT.txt")
    splits = sorted(n[:-4] for n in os.listdir(lists) if n.endswith(".txt")) if os.path.isdir(lists) else []
    raise UserError(f"{path}: no such split; there are: {', '.join([*splits, ALL])}")


def xml_stems(folder: str) -> list[str]:
    """The sorted stems of the XML files in a folder; empty when it does not exist."""
    if not os.path.isdir(folder):
        return []
    return sorted(name[:-4] for name in os.listdir(folder) if name.endswith(".xml"))


def _names_elsewhere(annotations: str, parsed: dict[str, XmlAnnotation]) -> set[str]:
    """Class names of the devkit's other files. A broken one is an error where its own split is read, not here."""
    names: set[str] = set()
    for stem in xml_stems(annotations):
        if stem not in parsed:
            try:
                names.update(item.name for item in read_xml(os.path.join(annotations, f"{stem}.xml")).objects)
            except UserError:
                continue
    return names
