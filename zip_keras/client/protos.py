"""The messages of TensorFlow Serving's API that the clients and the warm-up file need, without TensorFlow.

`tensorflow-serving-api` provides all messages but depends on TensorFlow. The definitions here are copied from the
official `.proto` files: `tensorflow/core/framework/tensor{,_shape}.proto`,
`tensorflow_serving/apis/{model,predict,get_model_status,prediction_log}.proto`. Enumerations are declared as int32 and
members of a `oneof` as plain fields, which have the same wire format. The messages use a separate descriptor pool, so
TensorFlow's can be loaded in the same process. A test compares every field with the official messages.
"""

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MESSAGES = {
    "google.protobuf.Int64Value": "int64 value = 1;",
    "tensorflow.TensorShapeProto": "repeated TensorShapeProto.Dim dim = 2; bool unknown_rank = 3;",
    "tensorflow.TensorShapeProto.Dim": "int64 size = 1; string name = 2;",
    "tensorflow.TensorProto": """
        int32 dtype = 1; TensorShapeProto tensor_shape = 2; bytes tensor_content = 4; repeated float float_val = 5;
        repeated double double_val = 6; repeated int32 int_val = 7; repeated bytes string_val = 8;
        repeated int64 int64_val = 10; repeated bool bool_val = 11;""",
    "tensorflow.serving.ModelSpec": """
        string name = 1; google.protobuf.Int64Value version = 2; string signature_name = 3;
        string version_label = 4;""",
    "tensorflow.serving.PredictRequest": """
        ModelSpec model_spec = 1; map<string, tensorflow.TensorProto> inputs = 2; repeated string output_filter = 3;""",
    "tensorflow.serving.PredictResponse": """
        ModelSpec model_spec = 2; map<string, tensorflow.TensorProto> outputs = 1;""",
    "tensorflow.serving.StatusProto": "int32 error_code = 1; string error_message = 2;",
    "tensorflow.serving.ModelVersionStatus": "int64 version = 1; int32 state = 2; StatusProto status = 3;",
    "tensorflow.serving.GetModelStatusRequest": "ModelSpec model_spec = 1;",
    "tensorflow.serving.GetModelStatusResponse": "repeated ModelVersionStatus model_version_status = 1;",
    "tensorflow.serving.PredictLog": "PredictRequest request = 1; PredictResponse response = 2;",
    "tensorflow.serving.PredictionLog": "PredictLog predict_log = 6;",
}
VERSION_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {name: getattr(_FIELD, f"TYPE_{name.upper()}") for name in ("bool", "bytes", "double", "float", "int32")}
_SCALARS |= {"int64": _FIELD.TYPE_INT64, "string": _FIELD.TYPE_STRING}


def _build() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    before: list[str] = []
    for package in ("google.protobuf", "tensorflow", "tensorflow.serving"):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"zip_keras/{package}.proto", package=package, syntax="proto3", dependency=before
        )
        top: dict[str, Any] = {}
        for full_name, lines in MESSAGES.items():
            name = full_name.removeprefix(f"{package}.")
            if not name[0].isupper():  # belongs to another package
                continue
            outer, _, inner = name.rpartition(".")
            message = top[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
            top[name] = message
            for found in re.finditer(r"[^;]+;", lines):
                _add_field(message, f".{full_name}", package, found[0].strip())
        pool.Add(file)
        before.append(file.name)
    return pool


def _add_field(message: Any, full_name: str, package: str, line: str) -> None:
    mapped = re.fullmatch(r"map<string, ([\w.]+)> (\w+) = (\d+);", line)
    plain = re.fullmatch(r"(repeated )?([\w.]+) (\w+) = (\d+);", line)
    if mapped:
        kind, name, number = mapped.groups()
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _fill(entry.field.add(name="key", number=1), "string", package, False)
        _fill(entry.field.add(name="value", number=2), kind, package, False)
        _fill(message.field.add(name=name, number=int(number)), f"{full_name}.{entry.name}", package, True)
    elif plain:
        repeated, kind, name, number = plain.groups()
        _fill(message.field.add(name=name, number=int(number)), kind, package, bool(repeated))
    else:
        raise ValueError(f"{full_name}: {line}")


def _fill(field: Any, kind: str, package: str, repeated: bool) -> None:
    field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _FIELD.TYPE_MESSAGE
    qualified = kind.startswith((".", "google.", "tensorflow."))
    field.type_name = kind if kind.startswith(".") else f".{kind}" if qualified else f".{package}.{kind}"


_POOL = _build()


def message(name: str) -> Any:
    """The class of a message by its full name, for example `tensorflow.serving.PredictRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


TensorProto = message("tensorflow.TensorProto")
PredictRequest = message("tensorflow.serving.PredictRequest")
PredictResponse = message("tensorflow.serving.PredictResponse")
GetModelStatusRequest = message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = message("tensorflow.serving.GetModelStatusResponse")
PredictionLog = message("tensorflow.serving.PredictionLog")
