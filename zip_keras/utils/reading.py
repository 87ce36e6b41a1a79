"""Read untrusted files within limits: bytes, text, json and YAML.

A budget is checked before any values are built. Every failure is a `UserError` that names the file.
"""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import


@dataclass(frozen=True)
class Budget:
    """Limits of a json or YAML file.

    Attributes:
        bytes: maximum file size.
        nodes: maximum number of values, lists, mappings and keys; YAML aliases count as their expansion.
        depth: maximum nesting depth of lists and mappings.
    """

    bytes: int
    nodes: int
    depth: int = 32


DOCUMENT = Budget(bytes=4 << 20, nodes=200_000)  # a config, a preset, a list of class names
ANNOTATIONS = Budget(bytes=2 << 30, nodes=500_000_000)  # COCO's largest json has 470 MB and about 60 million values
MAX_DIGITS = 64  # of an unquoted YAML number; a double has at most 17 significant digits

# Applied after `\\` and `\"` are blanked.
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]")
_STEP = np.zeros(256, np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1
_BLOCK = 1 << 24


@contextlib.contextmanager
def open_regular(file: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading bytes.

    Raises:
        UserError: the file is missing, unreadable, or a pipe or device, which may never end.
    """
    try:
        # Without O_NONBLOCK, opening a pipe blocks until there is a writer.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{file}: cannot be read (it is not a regular file); give a file on disk")
            yield stream
    except FileNotFoundError:
        raise UserError(f"{file}: cannot be read (No such file or directory)") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        if "null byte" in str(error):
            raise UserError(f"{str(file)!r}: cannot be read (a NUL is in the name)") from None
        raise


def read_bytes(file: str | Path, max_bytes: int, *, offset: int = 0, only: int | None = None) -> bytes:
    """Read a regular file.

    Args:
        file: path of the file.
        max_bytes: maximum size of the content.
        offset: position of the first byte.
        only: maximum number of bytes to read; None: all remaining bytes.

    Raises:
        UserError: see `open_regular`, or the content is larger than `max_bytes`.
    """
    with open_regular(file) as stream:
        stream.seek(offset)
        content = stream.read(max_bytes + 1 if only is None else min(only, max_bytes))
    if len(content) > max_bytes:
        raise UserError(f"{file}: larger than the limit of {max_bytes:,} bytes")
    return content


def read_text(file: str | Path, max_bytes: int = DOCUMENT.bytes) -> str:
    """Read a UTF-8 text file without its byte order mark.

    Raises:
        UserError: see `read_bytes`, or the content is not UTF-8.
    """
    try:
        return read_bytes(file, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a UTF-8 text file (byte {error.start})") from None


def read_json(file: str | Path, budget: Budget = DOCUMENT) -> Any:
    """Read a json file; see `parse_json`."""
    return parse_json(read_bytes(file, budget.bytes), str(file), budget)


def parse_json(content: bytes | str, name: str, budget: Budget = DOCUMENT) -> Any:
    """Parse json into Python values. Integers beyond 64 bits become floats, or infinity beyond the range of floats.

    Args:
        content: json text, UTF-8 if it is bytes.
        name: prefix of the messages.
        budget: checked before the values are built.

    Raises:
        UserError: the content is not json, exceeds the budget, or has a lone surrogate in a string.
    """
    try:
        content = content.encode() if isinstance(content, str) else content.removeprefix(b"\xef\xbb\xbf")
        _check_json(content, name, budget)
        return json.loads(content.decode("utf-8"), parse_int=_integer)
    except UserError:
        raise
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not a UTF-8 text file ({error.reason})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid json ({error})") from None


def read_yaml(file: str | Path, budget: Budget = DOCUMENT) -> Any:
    """Read a YAML file; see `parse_yaml`."""
    return parse_yaml(read_text(file, budget.bytes), str(file), budget)


def parse_yaml(text: str, name: str, budget: Budget = DOCUMENT) -> Any:
    """Parse YAML into plain Python values. No other objects are built.

    Raises:
        UserError: PyYAML is missing, the text is not YAML or exceeds the budget, or an alias contains itself.
    """
    yaml = optional_import("yaml", name, "train")
    try:
        _check_yaml(yaml, text, name, budget)
        value = yaml.load(text, Loader=_loader(yaml))
        _check_values(value, name)
        return value
    except UserError:
        raise
    # The constructors of dates, numbers and sets raise other errors.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
        raise UserError(f"{name}: not valid YAML ({' '.join(str(error).split())[:300]})") from None


def _loader(yaml: Any) -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _integer(digits: str) -> int | float:
    number = int(digits) if len(digits) <= 20 else None
    return number if number is not None and -(1 << 63) <= number < 1 << 63 else float(digits)


def _check_json(content: bytes, name: str, budget: Budget) -> None:
    if len(content) > budget.bytes:
        raise UserError(f"{name}: larger than the limit of {budget.bytes:,} bytes")
    plain = content.replace(rb"\\", b"__").replace(rb"\"", b"__") if b"\\" in content else content
    if b"\\" in plain and _LONE_SURROGATE.search(plain):
        raise UserError(f"{name}: a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    nodes, depth, inside = 1, 0, False
    for start in range(0, len(plain), _BLOCK):
        block = np.frombuffer(plain, np.uint8, min(_BLOCK, len(plain) - start), start)
        quoted = np.logical_xor.accumulate(block == ord('"')) ^ inside  # bool: inside a string
        inside = bool(quoted[-1])
        outside = block[~quoted]
        steps = _STEP[outside]
        nodes += int((steps > 0).sum() + (outside == ord(",")).sum() + (outside == ord(":")).sum())
        levels = depth + np.cumsum(steps, dtype=np.int64)
        depth = int(levels[-1]) if len(levels) else depth
        _check_budget(name, nodes, int(levels.max(initial=0)), budget)


def _check_yaml(yaml: Any, text: str, name: str, budget: Budget) -> None:
    """Check the budget on the events of a document, counting aliases as their expansion."""
    if len(text) > budget.bytes:
        raise UserError(f"{name}: larger than the limit of {budget.bytes:,} bytes")
    size_of: dict[str, tuple[int, int]] = {}  # anchor -> nodes and depth that an alias to it adds
    open_nodes: list[list[Any]] = [[None, 0, 0]]  # anchor, nodes, depth below
    for event in yaml.parse(text, Loader=_loader(yaml)):
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            open_nodes.append([event.anchor, 1, 1])
            size_of.pop(event.anchor or "", None)  # an anchor name may be reused
        elif isinstance(event, yaml.ScalarEvent):
            if (
                event.style in (None, "")
                and len(event.value) > MAX_DIGITS
                and re.match(r"[-+.]?\d[\d_:.]*$", event.value)
            ):
                raise UserError(f"{name}: a number of {len(event.value)} digits")
            if event.anchor:
                size_of[event.anchor] = (1, 0)
            open_nodes[-1][1] += 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in size_of:
                known = any(anchor == event.anchor for anchor, *_ in open_nodes)
                fault = "contains itself" if known else "stands for nothing"
                raise UserError(f"{name}: the alias *{event.anchor} {fault}")
            nodes, depth = size_of[event.anchor]
            open_nodes[-1][1] += nodes
            open_nodes[-1][2] = max(open_nodes[-1][2], 1 + depth)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            anchor, nodes, depth = open_nodes.pop()
            if anchor:
                size_of[anchor] = (nodes, depth)
            open_nodes[-1][1] += nodes
            open_nodes[-1][2] = max(open_nodes[-1][2], 1 + depth)
        _check_budget(name, sum(nodes for _, nodes, _ in open_nodes), len(open_nodes) - 1 + open_nodes[-1][2], budget)


def _check_budget(name: str, nodes: int, depth: int, budget: Budget) -> None:
    if nodes > budget.nodes:
        raise UserError(f"{name}: holds more than {budget.nodes:,} values")
    if depth > budget.depth:
        raise UserError(f"{name}: lists and mappings nested deeper than {budget.depth}")


def _check_values(value: Any, name: str) -> None:
    """Raise for strings with lone surrogates and integers beyond 64 bits. The depth is bounded by the budget."""
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise UserError(f"{name}: a text holds half of a surrogate pair, which is no character")
    elif isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise UserError(f"{name}: a whole number beyond 64 bits")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_values(key, name)
            _check_values(item, name)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _check_values(item, name)
