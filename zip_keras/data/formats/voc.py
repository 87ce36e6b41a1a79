"""PASCAL VOC: one XML file per image.

A devkit has `Annotations/STEM.xml`, `JPEGImages/STEM.jpg` and `ImageSets/Main/SPLIT.txt`. Plain folders of XML files
are read too. The split is then `all` or the name of a subfolder, and images are found by name, beside the XML file or
anywhere below the folder.
"""

import itertools
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
    """Read one split of a devkit.

    Args:
        folder: the devkit (with `Annotations`), or a plain folder of XML files.
        split: name of a file in `ImageSets/Main`, name of a subfolder, or `all` for every XML file.
        log: judges files that cannot be read.
        image_folder: folder of the images; `JPEGImages` of the devkit by default.
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
    if is_devkit and not os.path.isdir(image_folder):
        image_folder = folder  # the images are in a folder of another name
    stems = _stems(folder, annotations, split)
    images = _Images(image_folder)
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
        file = images.find(stem, xml.filename)
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
    if inside := [stem for stem in stems if stem.startswith(f"{split}/")]:
        return inside
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder")
    if not stems:
        raise UserError(f"{folder}: no annotations; a VOC devkit has Annotations/*.xml and ImageSets/Main/SPLIT.txt")
    splits = sorted(n[:-4] for n in os.listdir(lists) if n.endswith(".txt")) if os.path.isdir(lists) else []
    folders = sorted({stem.partition("/")[0] for stem in stems if "/" in stem})
    raise UserError(
        f"{path}: no such split; there are: {', '.join([*splits, *folders, ALL])}; write {folder}:{ALL}@0.8 and "
        f"{folder}:{ALL}@0.8-1 for a random split"
    )


def xml_stems(folder: str) -> list[str]:
    """Sorted paths, without suffix, of the XML files in a folder and below; empty if the folder does not exist."""
    return sorted(
        os.path.relpath(os.path.join(root, name), folder)[:-4].replace(os.sep, "/")
        for root, _, names in os.walk(folder)
        for name in names
        if name.endswith(".xml")
    )


class _Images:
    """The images below a folder, found by the name or the content of an XML file."""

    def __init__(self, folder: str):
        self._folder = folder
        self._by_path = images_by_stem(folder)
        self._by_name: dict[str, list[str]] = {}
        for path in self._by_path:
            self._by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, stem: str, filename: str | None) -> str | None:
        """The image of the XML file `stem`; None if there is none.

        Raises:
            UserError: several images match.
        """
        place, _, name = stem.rpartition("/")
        stated = os.path.splitext((filename or "").replace("\\", "/").rpartition("/")[2])[0]
        for beside in (stem, f"{place}/{stated}".lstrip("/")):
            if beside in self._by_path:
                return self._by_path[beside]
        for wanted in (name, stated):
            found = self._by_name.get(wanted, [])
            if len(found) > 1:  # labels/train/1.xml belongs to images/train/1.jpg
                shared = [_common_end(stem.split("/"), path.split("/")) for path in found]
                found = [path for path, length in zip(found, shared, strict=True) if length == max(shared)]
            if len(found) > 1:
                raise UserError(
                    f"{self._folder}: {stem}.xml may belong to {self._by_path[found[0]]} or {self._by_path[found[1]]}; "
                    "put each XML file beside its image, or rename one"
                )
            if found:
                return self._by_path[found[0]]
        return None


def _names_elsewhere(annotations: str, parsed: dict[str, XmlAnnotation]) -> set[str]:
    """Class names in the other XML files of the devkit. Broken files are skipped; reading their split reports them."""
    names: set[str] = set()
    for stem in xml_stems(annotations):
        if stem not in parsed:
            try:
                names.update(item.name for item in read_xml(os.path.join(annotations, f"{stem}.xml")).objects)
            except UserError:
                continue
    return names


def _common_end(one: list[str], other: list[str]) -> int:
    """Number of trailing parts that two paths share."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
