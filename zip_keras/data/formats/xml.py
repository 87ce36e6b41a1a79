"""XML annotations of PASCAL VOC and ImageNet-DET, parsed without entities and with size limits."""

import math
from dataclasses import dataclass, field
from xml.parsers import expat

from zip_keras.data.annotations import ObjectAnnotation
from zip_keras.errors import UserError
from zip_keras.utils.reading import read_bytes

MAX_BYTES = 8 * 1024 * 1024  # a file with 10,000 objects takes about 3 MB
MAX_DEPTH = 32


@dataclass
class XmlAnnotation:
    """Content of one file: name and size of the image as stated (None if absent) and the objects."""

    filename: str | None = None
    height: int | None = None
    width: int | None = None
    objects: list[ObjectAnnotation] = field(default_factory=list)


def read_xml(path: str) -> XmlAnnotation:
    """Read one VOC or ImageNet annotation file.

    Parts of an object (VOC's person layout: head, hand, foot) are not objects and are ignored.

    Raises:
        UserError: the file is missing, too large, not well-formed, declares a document type or entities, or is not an
            `annotation`.
    """
    return parse_xml(read_bytes(path, MAX_BYTES), path)


def parse_xml(data: bytes, path: str) -> XmlAnnotation:
    """`read_xml` for bytes in memory; `path` is used in messages."""
    builder = _Builder(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.refuse_doctype
    parser.EntityDeclHandler = builder.refuse_doctype
    parser.ExternalEntityRefHandler = builder.refuse_doctype
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not well-formed XML ({error}); fix or remove the file") from None
    return builder.finish()


class _Builder:
    """Collects the relevant elements by their path from the root."""

    def __init__(self, path: str):
        self.path = path
        self.stack: list[str] = []
        self.words: list[str] = []
        self.result = XmlAnnotation()
        self.item: dict[str, str] = {}

    def start(self, name: str, _attributes: object) -> None:
        self.stack.append(name)
        self.words = []
        if len(self.stack) == 1 and name != "annotation":
            raise UserError(f"{self.path}: the root element is <{name[:40]}>, expected <annotation>")
        if len(self.stack) > MAX_DEPTH:
            raise UserError(f"{self.path}: elements nested deeper than {MAX_DEPTH}; this is not an annotation file")
        if self.stack[1:] == ["object"]:
            self.item = {}

    def text(self, words: str) -> None:
        self.words.append(words)

    def end(self, _name: str) -> None:
        where, words = self.stack[1:], "".join(self.words).strip()
        self.stack.pop()
        self.words = []
        if where == ["filename"]:
            self.result.filename = words
        elif where == ["size", "width"]:
            self.result.width = self._size(words, "width")
        elif where == ["size", "height"]:
            self.result.height = self._size(words, "height")
        elif where == ["object"]:
            self.result.objects.append(self._object())
        elif where[:1] == ["object"] and len(where) == 2 and where[1] != "bndbox":
            self.item[where[1]] = words
        elif where[:2] == ["object", "bndbox"] and len(where) == 3:
            self.item[where[2]] = words

    def refuse_doctype(self, *_declaration: object) -> int:
        raise UserError(
            f"{self.path}: declares a document type or entities, which annotation files do not need; remove it"
        )

    def finish(self) -> XmlAnnotation:
        return self.result

    def _size(self, words: str, what: str) -> int | None:
        number = _number(words)
        if not words or number == 0:  # some tools write empty or zero sizes; the size is then read from the image
            return None
        if math.isnan(number) or not 0 < number < 1e6 or number != int(number):
            raise UserError(f'{self.path}: the image {what} is "{words[:40]}", expected a whole number of pixels')
        return int(number)

    def _object(self) -> ObjectAnnotation:
        item = self.item
        name = item.get("name", "")
        if not name:
            raise UserError(f"{self.path}: object {len(self.result.objects) + 1} has no <name>")
        corners = tuple(_number(item.get(key, "")) for key in ("xmin", "ymin", "xmax", "ymax"))
        return ObjectAnnotation(name, corners, difficult=item.get("difficult", "0") not in ("", "0"))  # type: ignore[arg-type]


def _number(words: str) -> float:
    """The number in a text; NaN if it is not a number."""
    try:
        return float(words)
    except ValueError:
        return math.nan
