"""Image files and lists of image names, shared by all readers."""

import os
from collections import Counter
from collections.abc import Container

from zip_keras.errors import UserError
from zip_keras.utils.reading import read_text

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def images_by_stem(folder: str) -> dict[str, str]:
    """`{path inside folder without suffix: path}` of all images in `folder` and its subfolders.

    Raises:
        UserError: the folder does not exist, or two images differ only in their suffix.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder of images")
    found: dict[str, str] = {}
    for root, folders, names in os.walk(folder):
        folders.sort()
        prefix = os.path.relpath(root, folder)
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_SUFFIXES:
                key = stem if prefix == "." else f"{prefix}/{stem}".replace(os.sep, "/")
                if key in found:
                    raise UserError(f"{folder}: {found[key]} and {name} have the same stem; rename one")
                found[key] = os.path.join(root, name)
    return found


def read_list(path: str, known: Container[str] = ()) -> list[str]:
    """The names in a VOC or ILSVRC split file: the first word of each line, or the whole line if it is in `known`.

    Raises:
        UserError: the file is missing or not text, or a name occurs twice or leads out of the folder.
    """
    names: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if words:
            name = line.strip() if line.strip() in known else words[0]
            if name.startswith("/") or ".." in name.split("/"):
                raise UserError(f"{path}: line {number} ({name!r}) leads out of the data set's folder")
            names.append(name)
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise UserError(f"{path}: {twice} is listed twice; remove one")
    return names


def read_lines(path: str, max_bytes: int = 64 * 1024 * 1024) -> list[str]:
    """The lines of a UTF-8 text file of at most `max_bytes` bytes.

    Raises:
        UserError: the file is missing, too large, not text, or contains a NUL.
    """
    text = read_text(path, max_bytes)
    if "\0" in text:
        raise UserError(f"{path}: line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL; not a text file")
    return text.splitlines()
