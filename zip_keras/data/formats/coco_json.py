"""Structure checks of COCO instances JSON, shared by training records and ground truth.

Entries keep the dicts and numbers of the file. `data.formats.coco` and `evaluation.coco_instances` convert them.
"""

import math
from dataclasses import dataclass
from typing import Any

from zip_keras.errors import UserError
from zip_keras.utils.reading import ANNOTATIONS, read_json

Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoJson:
    """Content of a COCO instances file with checked ids.

    Attributes:
        file: path of the file, for messages.
        images: entries with a unique `id`, an integer or a string.
        annotations: entries with an `image_id`, an integer or a string.
        categories: entries with an integer `id`; empty if the file has none.
    """

    file: str
    images: list[Entry]
    annotations: list[Entry]
    categories: list[Entry]


def read_coco_json(file: str) -> CocoJson:
    """Read an instances file.

    Raises:
        UserError: the file is missing, broken, or not a COCO instances file; the message names the entry.
    """
    content = read_json(file, ANNOTATIONS)
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        kind = "a json list, as proposals are," if isinstance(content, list) else "no json with these keys"
        raise UserError(
            f"{file}: {kind}, not a COCO instances file: it needs the keys 'images', 'annotations' and 'categories'; "
            "evaluate takes proposals by --proposals and ground truth by --ground-truth"
        )
    images = _entries(content, "images", "id", (int, str), file)
    annotations = _entries(content, "annotations", "image_id", (int, str), file)
    categories = _entries(content, "categories", "id", (int,), file)
    seen: set[int | str] = set()
    for position, image in enumerate(images):
        if image["id"] in seen:
            raise UserError(
                f"{file}: images[{position}] has the id {image['id']!r} of an earlier image; ids must differ"
            )
        seen.add(image["id"])
    return CocoJson(file, images, annotations, categories)


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _entries(content: Entry, key: str, name: str, kinds: tuple[type, ...], file: str) -> list[Entry]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise UserError(f'{file}: "{key}" is not a list of objects; this must be a COCO instances file')
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserError(f'{file}: {key}[{position}] is not an object; "{key}" must be a list of objects')
        if type(entry.get(name)) not in kinds:
            fault = f'a bad "{name}"' if name in entry else f'no "{name}"'
            need = " or ".join({int: "an integer", str: "a text"}[kind] for kind in kinds)
            raise UserError(f"{file}: {key}[{position}] has {fault}; it must be {need}")
    return entries
