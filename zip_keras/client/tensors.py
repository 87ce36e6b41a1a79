"""Conversion between NumPy arrays and `TensorProto`."""

import math
from typing import Any

import numpy as np

from zip_keras.client.protos import TensorProto

# `DataType` numbers of tensorflow/core/framework/types.proto, with the NumPy type and the repeated field of its values.
_KINDS = {
    1: (np.float32, "float_val"),
    2: (np.float64, "double_val"),
    3: (np.int32, "int_val"),
    4: (np.uint8, "int_val"),
    9: (np.int64, "int64_val"),
    10: (np.bool_, "bool_val"),
}
_NUMBERS = {np.dtype(kind): number for number, (kind, _) in _KINDS.items()}
_STRING = 7


def to_proto(values: np.ndarray | list[bytes]) -> Any:
    """Convert numbers or booleans of any shape, or a list of n byte strings, to a message.

    Raises:
        TypeError: the values have another type.
    """
    proto = TensorProto()
    if isinstance(values, list):
        proto.dtype = _STRING
        proto.string_val.extend(values)
        shape: tuple[int, ...] = (len(values),)
    else:
        if values.dtype not in _NUMBERS:
            raise TypeError(f"an array of {values.dtype}")
        proto.dtype = _NUMBERS[values.dtype]
        proto.tensor_content = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
        shape = values.shape
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def to_array(proto: Any) -> np.ndarray:
    """Convert a message to an array; byte strings become an array of objects.

    Raises:
        ValueError: the values do not fit the shape, or have a type that no signature of this project uses.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if proto.dtype == _STRING:
        return np.array(list(proto.string_val), object).reshape(shape)
    if proto.dtype not in _KINDS:
        raise ValueError(f"a tensor of type {proto.dtype}")
    kind, field = _KINDS[proto.dtype]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, np.dtype(kind).newbyteorder("<")).astype(kind).reshape(shape)
    values: np.ndarray = np.array(getattr(proto, field), kind)
    if 0 < len(values) < count:  # omitted values equal the last one
        values = np.concatenate([values, np.full(count - len(values), values[-1], kind)])
    return values.reshape(shape)
