"""Finding images and lists of images by name, the same way for every reader."""

import os

from zip_keras.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def images_by_stem(folder: str) -> dict[str, str]:
    """`{path inside folder without suffix: path}` of all images in `folder` and below.

    Raises:
        UserError: the folder does not exist, or two images differ in their suffix alone.
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


def read_list(path: str) -> list[str]:
    """The first word of every line that has one (VOC and ILSVRC split files).

    Raises:
        UserError: the file is missing or not text, or a name occurs twice or leads out of its folder.
    """
    names: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if words:
            if words[0].startswith("/") or ".." in words[0].split("/"):
                raise UserError(f"{path}: line {number} ({words[0]!r}) leads out of the data set's folder")
            names.append(words[0])
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise UserError(f"{path}: {twice} is listed twice; remove one")
    return names


def read_lines(path: str, max_bytes: int = 64 * 1024 * 1024) -> list[str]:
    """The lines of a UTF-8 text file of bounded size.

    Raises:
        UserError: the file is missing, too large or not text.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > max_bytes:
        raise UserError(f"{path}: larger than {max_bytes} bytes; this is not a text list")
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a UTF-8 text file") from None
