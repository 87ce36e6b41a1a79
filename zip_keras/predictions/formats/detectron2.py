"""Detectron2's precomputed proposals: a pickled dict `ids, boxes, objectness_logits, bbox_mode`.

Detectron's older names `indexes` and `scores` are read too. A pickle can execute arbitrary code when it is loaded, so
reading is refused unless the user allows it. Then only numbers, strings, lists, dicts and NumPy arrays of numbers are
created. The format cannot store levels.
"""

import os
import pickle
import pickletools
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from zip_keras.errors import UserError
from zip_keras.predictions.container import ImagePredictions, corners, gather
from zip_keras.predictions.formats.common import ReadOptions, refuse_not_finite
from zip_keras.utils.files import atomic_write

_XYXY, _XYWH = 0, 1  # detectron2.structures.BoxMode.XYXY_ABS and XYWH_ABS


def read(file: str, options: ReadOptions) -> Iterator[ImagePredictions]:
    """Yield one part per image.

    Raises:
        UserError: pickles are not allowed, the file contains something other than data, or its content is invalid.
    """
    if not options.allow_pickle:
        raise UserError(
            f"{file}: is a pickle, which is refused unless you ask for it: --allow-pickle reads numbers, texts, lists, "
            "dicts and NumPy arrays from it and nothing else"
        )
    try:
        with open(file, "rb") as stream:
            _check_places(_Bounded(stream), os.path.getsize(file))
            stream.seek(0)
            content = _DataUnpickler(_Bounded(stream), encoding="latin1").load()
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except Exception as error:  # a broken pickle can raise any exception
        raise UserError(f"{file}: not a readable pickle: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds a {type(content).__name__}, not the dict of a Detectron2 proposal file")
    content = {{"indexes": "ids", "scores": "objectness_logits"}.get(key, key): value for key, value in content.items()}
    for key in ("ids", "boxes", "objectness_logits"):
        if key not in content:
            raise UserError(f"{file}: has no '{key}'; a Detectron2 proposal file has ids, boxes and objectness_logits")
    mode = content.get("bbox_mode", _XYXY)
    if mode not in (_XYXY, _XYWH):
        raise UserError(f"{file}: bbox_mode {mode!r} is not supported; only XYXY_ABS (0) and XYWH_ABS (1)")
    columns = [_values(content[key]) for key in ("ids", "boxes", "objectness_logits")]
    if not all(isinstance(column, list | tuple | np.ndarray) for column in columns):
        raise UserError(f"{file}: ids, boxes and objectness_logits must be lists, one entry an image")
    if len({len(column) for column in columns}) > 1:
        raise UserError(
            f"{file}: {' / '.join(str(len(c)) for c in columns)} ids, boxes and logits; they must be as many"
        )
    for image_id, boxes, scores in zip(*columns, strict=True):
        yield _part(image_id, boxes, scores, mode, file)


def write(file: str, parts: Iterable[ImagePredictions]) -> int:
    """Write float32 corners and scores and return the number of boxes. The format cannot store classes."""
    proposals = gather(parts, file)
    for image in proposals:
        refuse_not_finite(image)
    content = {
        "ids": list(proposals.image_ids),
        "boxes": [corners(image.xywh)[:, [1, 0, 3, 2]].astype(np.float32) for image in proposals],
        "objectness_logits": [image.scores.astype(np.float32) for image in proposals],
        "bbox_mode": _XYXY,
    }
    with atomic_write(file) as unfinished, open(unfinished, "wb") as stream:
        pickle.dump(content, stream, protocol=4)
    return proposals.count


def _part(image_id: Any, boxes: Any, scores: Any, mode: int, file: str) -> ImagePredictions:
    image_id = image_id.item() if isinstance(image_id, np.generic) else image_id
    if type(image_id) not in (int, str):
        raise UserError(f"{file}: image id {image_id!r} is neither an integer nor a text")
    try:
        with np.errstate(invalid="ignore"):  # callers check for values that are not finite
            boxes = np.asarray(_values(boxes), np.float64).reshape(-1, 4)
            scores = np.asarray(_values(scores), np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise UserError(f"{file}: image {image_id!r}: boxes must be [n, 4] numbers and logits [n]") from None
    if len(boxes) != len(scores):
        raise UserError(f"{file}: image {image_id!r} has {len(boxes)} boxes and {len(scores)} logits")
    if mode == _XYXY:
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    count = len(scores)
    return ImagePredictions(image_id, boxes, scores, np.ones(count, np.int64), np.zeros(count, np.int64))


class _Bounded:
    """A file that limits reads to its size, because pickle allocates a stated length before it reads the data."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._size = stream, os.fstat(stream.fileno()).st_size
        self.readline = stream.readline

    def read(self, count: int) -> bytes:
        return self._stream.read(min(count, self._size))


def _check_places(stream: Any, size: int) -> None:
    """Refuse a pickle with a memo index larger than `size`, the file size in bytes.

    Python's unpickler allocates an array as long as the largest memo index.
    """
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= size:
            raise UserError(f"the pickle remembers object number {argument:,} in {size:,} bytes; it is damaged")


class _DataUnpickler(pickle.Unpickler):
    """Creates arrays of numbers with functions of this module; any other global name in the file is an error."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        allowed = {
            ("numpy", "ndarray"): object,  # named by every array, never instantiated
            ("numpy", "dtype"): _NumberType,
            ("numpy.core.multiarray", "_reconstruct"): _empty_array,
            ("numpy.core.multiarray", "scalar"): _scalar,
            ("numpy.core.numeric", "_frombuffer"): _from_buffer,
            ("_codecs", "encode"): _latin1,
            ("detectron2.structures.boxes", "BoxMode"): int,
        }
        if (module, name) not in allowed:
            raise UserError(f"the pickle asks for {module}.{name}, which is not data; it was not loaded")
        return allowed[module, name]


class _NumberType:
    """Replaces `numpy.dtype`, whose `__setstate__` crashes on a damaged state."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biuf":
            raise UserError(f"the pickle holds an array of {self.dtype}, not of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Replaces `numpy.ndarray`, whose `__setstate__` trusts the file."""

    values = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        data = data.encode("latin1") if isinstance(data, str) else data  # written by Python 2
        self.values = _from_buffer(data, kind, shape, "F" if is_fortran else "C")


def _values(found: Any) -> Any:
    return found.values if isinstance(found, _Array) else found


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> _Array:
    return _Array()


def _scalar(kind: _NumberType, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype, 1)[0]


def _from_buffer(data: Any, kind: _NumberType, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)  # type: ignore[call-overload]


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")
