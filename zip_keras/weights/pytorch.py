"""Reader of PyTorch state dicts that needs no PyTorch and executes no code from the file.

A `.pth` file is a pickle, and a pickle can call any function. This reader accepts only `OrderedDict`, PyTorch's
functions that rebuild a tensor, and its storage types. All but the dict are replaced by inert data; any other name is
an error. Both formats of `torch.save` are read: the zip archive (PyTorch 1.6 and later) and the older stream of
pickles. `torch.load(weights_only=True)` has the same restriction. It is not used because PyTorch is a larger
installation than all other dependencies together.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from zip_keras.errors import UserError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # the upper half of a float32
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_state_dict(file: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a state dict by name.

    Args:
        file: a file of `torch.save(model.state_dict(), file)` in either format, or of a checkpoint dict that holds the
            state dict under "state_dict".

    Returns:
        arrays in the file's dtype; bfloat16 becomes float32.

    Raises:
        UserError: the file is missing or broken, is not a state dict, or refers to anything but tensors.
    """
    file = Path(file)
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        content, storages = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
            content = content["state_dict"]
        return _arrays(content, storages)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    except Exception as error:  # a broken pickle can raise any exception
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"{file}: not a readable PyTorch state dict ({reason}); save model.state_dict() again"
        ) from None


@dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: str
    bfloat16: bool


@dataclass(frozen=True, slots=True)
class _Storage:
    """A storage of the file, and the range of it that is used (old files have such views)."""

    key: str
    type: _StorageType
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _RebuildTensor:
    """Replaces `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`: describes the tensor."""

    __slots__ = ()

    def __call__(self, storage, offset, size, stride, *_) -> _Tensor:
        numbers = (offset, *size, *stride)
        if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
            raise UserError("a tensor is not described by a storage, an offset, a size and strides; the file is broken")
        return _Tensor(storage, offset, tuple(size), tuple(stride))


class _RebuildParameter:
    """Replaces `torch._utils._rebuild_parameter`: returns the parameter's tensor."""

    __slots__ = ()

    def __call__(self, tensor, *_) -> Any:
        return tensor


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _RebuildTensor(),
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    ("torch._utils", "_rebuild_parameter"): _RebuildParameter(),
    **{
        (module, name): _StorageType(dtype, name == "BFloat16Storage")
        for module in ("torch", "torch.cuda")
        for name, dtype in _DTYPES.items()
    },
}


class _TensorUnpickler(pickle.Unpickler):
    """Unpickler of plain data and descriptions of tensors; any other name in the file is an error."""

    def __init__(self, stream: IO[bytes]):
        super().__init__(stream, encoding="utf-8")  # type: ignore[call-arg]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UserError(
                f"asks for {module}.{name}, which is not part of a state dict; nothing of it was run. Save "
                "model.state_dict() alone, or use a file you can trust"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or type(count) is not int or count < 0:
            raise UserError("refers to something other than a storage of numbers; save model.state_dict() alone")
        if view and view[0] is not None:
            _, offset, count = view[0]
            return _Storage(str(key), storage_type, int(offset), int(count))
        return _Storage(str(key), storage_type, 0, count)


@dataclass(frozen=True)
class _Storages:
    """The bytes of every storage by key, and their byte order ("<" or ">")."""

    content: dict[str, bytes]
    order: Literal["<", ">"]

    def values(self, storage: _Storage) -> np.ndarray:
        if storage.key not in self.content:
            raise UserError(f"storage {storage.key} is not in the file; it is cut off or broken")
        values = np.frombuffer(self.content[storage.key], np.dtype(storage.type.dtype).newbyteorder(self.order))
        if storage.offset < 0 or storage.offset + storage.count > len(values):
            raise UserError(
                f"storage {storage.key} holds {len(values)} numbers, fewer than it should; the file is broken"
            )
        return values[storage.offset : storage.offset + storage.count]


def _read_zip(file: Path) -> tuple[Any, _Storages]:
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise UserError("a compressed archive, which torch.save never writes; it was not unpacked")
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise UserError("a zip archive, but not one of torch.save: it has no data.pkl")
        root = roots[0]
        with archive.open(f"{root}data.pkl") as stream:
            content = _TensorUnpickler(stream).load()
        big = f"{root}byteorder" in names and archive.read(f"{root}byteorder").strip() == b"big"
        prefix = f"{root}data/"
        storages = {name.removeprefix(prefix): archive.read(name) for name in names if name.startswith(prefix)}
    return content, _Storages(storages, ">" if big else "<")


def _read_legacy(file: Path) -> tuple[Any, _Storages]:
    """Read five pickles (magic number, protocol, system, content, keys), then count and numbers of each storage."""
    with open(file, "rb") as stream:
        if stream.read(1) != b"\x80":
            raise UserError("neither a zip archive nor a pickle, so not a file of torch.save")
        stream.seek(0)
        if _TensorUnpickler(stream).load() != LEGACY_MAGIC:
            raise UserError("a pickle, but not one of torch.save")
        _TensorUnpickler(stream).load()  # protocol version
        system = _TensorUnpickler(stream).load()
        used: dict[str, _StorageType] = {}

        class Noting(_TensorUnpickler):
            """Records the dtype of every storage, which determines its size in the file."""

            def persistent_load(self, pid: Any) -> _Storage:
                storage = super().persistent_load(pid)
                used[storage.key] = storage.type
                return storage

        content = Noting(stream).load()
        storages = {}
        for key in map(str, _TensorUnpickler(stream).load()):
            if key not in used:
                raise UserError(f"storage {key} belongs to no tensor; the file is broken")
            count = int.from_bytes(stream.read(8), "little", signed=True)
            length = count * np.dtype(used[key].dtype).itemsize
            if not 0 <= length <= file.stat().st_size - stream.tell():
                raise UserError(f"storage {key} is cut off: the file is incomplete, fetch it again")
            storages[key] = stream.read(length)
    return content, _Storages(storages, "<" if system.get("little_endian", True) else ">")


def _arrays(content: Any, storages: _Storages) -> dict[str, np.ndarray]:
    if not isinstance(content, Mapping):
        raise UserError(f"holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    arrays = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise UserError(f"{name!r} is {type(tensor).__name__}, not a tensor; save model.state_dict() alone")
        arrays[name] = _array(name, tensor, storages)
    return arrays


def _array(name: str, tensor: _Tensor, storages: _Storages) -> np.ndarray:
    values = storages.values(tensor.storage)
    count = math.prod(tensor.size)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
    if count and (last >= len(values) or count > len(values)):
        raise UserError(f"tensor {name} reaches beyond its storage; the file is broken")
    if count == 0:
        return np.zeros(tensor.size, values.dtype.newbyteorder("="))
    strides = [step * values.itemsize for step in tensor.stride]
    array = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.size, strides, writeable=False)
    if tensor.storage.type.bfloat16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="))
