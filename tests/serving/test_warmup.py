"""Warm-up requests of an export, read with the official messages; test_client.py has what the server makes of them."""

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from zip_keras.data.tfrecord.container import scan_records
from zip_keras.export.signatures import SIGNATURES
from zip_keras.export.warmup import WARMUP_FILE


def test_there_is_a_request_for_every_signature(small_export, signatures):
    logs = [
        prediction_log_pb2.PredictionLog.FromString(r) for _, r in scan_records(str(small_export / "1" / WARMUP_FILE))
    ]
    requests = {log.predict_log.request.model_spec.signature_name: log.predict_log.request for log in logs}
    assert set(requests) == set(SIGNATURES)
    for name, request in requests.items():
        _, inputs = signatures[name].structured_input_signature
        assert set(request.inputs) == set(inputs)
        for key, spec in inputs.items():
            tensor = request.inputs[key]
            assert tensor.dtype == spec.dtype.as_datatype_enum
            assert spec.shape.is_compatible_with([dim.size for dim in tensor.tensor_shape.dim])
    answer = signatures["tf_example"](examples=tf.make_ndarray(requests["tf_example"].inputs["examples"]))
    assert answer["decoded"].numpy().tolist() == [True]
