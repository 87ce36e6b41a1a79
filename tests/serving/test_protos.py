"""The messages of the client are the official ones, field by field and byte by byte."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2, prediction_log_pb2  # noqa: F401 (registers)

from zip_keras.client import protos, tensors

NAMES = [name for name in protos.MESSAGES if not name.startswith("google.")]
ARRAYS = [
    np.float32([[1.5, -2], [0, 7]]),
    np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
    np.int32([1, 2]),
    np.array([], np.float32).reshape(0, 4),
    np.array([True, False]),
    np.int64(5) * np.ones((), np.int64),
]


@pytest.mark.parametrize("name", NAMES)
def test_fields_are_the_official_ones(name):
    official = descriptor_pool.Default().FindMessageTypeByName(name).fields_by_name
    fields = protos.message(name).DESCRIPTOR.fields
    assert len(fields) > 0
    for field in fields:
        other = official[field.name]
        kind = FieldDescriptor.TYPE_INT32 if other.type == FieldDescriptor.TYPE_ENUM else other.type
        assert (field.number, field.type, field.is_repeated) == (other.number, kind, other.is_repeated), field.name


@pytest.mark.parametrize("values", ARRAYS, ids=lambda values: f"{values.dtype}{list(values.shape)}")
def test_arrays_both_ways(values):
    ours = tf.io.parse_tensor(tensors.to_proto(values).SerializeToString(), values.dtype).numpy()
    np.testing.assert_array_equal(ours, values)
    theirs = protos.TensorProto.FromString(tf.make_tensor_proto(values).SerializeToString())
    found = tensors.to_array(theirs)
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(found, values)


def test_values_one_by_one_and_bytes():
    proto = protos.TensorProto(dtype=1, float_val=[1.0, 2.0])  # the last one stands for the rest
    proto.tensor_shape.dim.add(size=4)
    np.testing.assert_array_equal(tensors.to_array(proto), np.float32([1, 2, 2, 2]))
    assert tf.io.parse_tensor(tensors.to_proto([b"a", b""]).SerializeToString(), tf.string).numpy().tolist() == [
        b"a",
        b"",
    ]
    assert tensors.to_array(tensors.to_proto([b"a", b"\xff"])).tolist() == [b"a", b"\xff"]
    with pytest.raises(TypeError):
        tensors.to_proto(np.zeros(2, np.complex64))


def test_a_request_is_read_by_the_official_message():
    request = protos.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "lite", "encoded"
    request.model_spec.version.value = 7
    request.inputs["image_bytes"].CopyFrom(tensors.to_proto([b"x"]))
    official = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    assert official.model_spec.version.value == 7
    assert official.inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    assert official.inputs["image_bytes"].string_val[0] == b"x"
