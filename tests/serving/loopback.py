"""A server with TensorFlow Serving's APIs on the official protos, for tests: `python -m tests.serving.loopback --help`.

Takes the flags of `tensorflow_model_server` that docs/serving.md uses. It loads an export through a session, as that
server does: signatures are found in the MetaGraphDef, tensors by name, and no Python of this project runs. The newest
version is served; a new one is loaded and warmed up with its `tf_serving_warmup_requests` while the old one answers.
gRPC has Predict, GetModelMetadata and GetModelStatus; REST has :predict (columns and rows), /metadata and the status.
"""

import argparse
import base64
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
# tensorflow_serving/util/net_http/public/response_code_enum.h, by gRPC's names
HTTP_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 503,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

CODES = {code.value[0]: code.name for code in grpc.StatusCode}  # TensorFlow's numbers are gRPC's


class Refused(Exception):
    """A request that is answered with a status."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class LoadedVersion:
    """One version of an export in a session."""

    def __init__(self, folder):
        self.number = int(folder.name)
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
        self.signatures = {name: s for name, s in meta.signature_def.items() if not name.startswith("__")}
        self._calls = {name: self._callable(signature) for name, signature in self.signatures.items()}
        self.warmed_up = 0
        if (folder / WARMUP_FILE).is_file():
            for record in tf.compat.v1.io.tf_record_iterator(str(folder / WARMUP_FILE)):
                request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
                self.predict(
                    request.model_spec.signature_name, {n: tf.make_ndarray(t) for n, t in request.inputs.items()}, 60.0
                )
                self.warmed_up += 1

    def _callable(self, signature):
        """A session's callable; feeds and fetches in a fixed order."""
        names = sorted(signature.outputs)
        feeds = sorted(signature.inputs)
        call = self.session.make_callable(
            [signature.outputs[name].name for name in names],
            [signature.inputs[name].name for name in feeds],
            accept_options=True,
        )
        return names, feeds, call

    def predict(self, signature, inputs, seconds):
        if (key := signature or "serving_default") not in self.signatures:
            raise Refused("FAILED_PRECONDITION", f'Serving signature key "{key}" not found.')
        names, feeds, call = self._calls[key]
        if sorted(inputs) != feeds:
            raise Refused("INVALID_ARGUMENT", f"input keys {sorted(inputs)} do not match the signature's {feeds}")
        for name in feeds:
            wanted = tf.as_dtype(self.signatures[key].inputs[name].dtype)
            text = wanted == tf.string and inputs[name].dtype == object
            if not text and inputs[name].dtype != wanted.as_numpy_dtype:
                raise Refused("INVALID_ARGUMENT", f"input {name!r} is {inputs[name].dtype}, expected {wanted.name}")
        options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(seconds * 1000)))
        try:
            return dict(zip(names, call(*(inputs[name] for name in feeds), options=options), strict=True))
        except tf.errors.OpError as error:
            raise Refused(CODES.get(error.error_code, "UNKNOWN"), error.message) from None
        except ValueError as error:  # a shape that the placeholder does not take
            raise Refused("INVALID_ARGUMENT", str(error)) from None

    def close(self):
        self.session.close()


class Model:
    """The versions of a base path: the newest answers; the one before is closed when its last request is done."""

    def __init__(self, name, base, poll_seconds):
        self.name, self.base, self.poll_seconds = name, Path(base), poll_seconds
        self._lock = threading.Condition()
        self._current, self._busy, self._failed = None, {}, {}
        self.refresh()
        if self._current is None:
            raise SystemExit(f"no servable version in {base}: {self._failed}")
        threading.Thread(target=self._watch, daemon=True).start()

    def refresh(self):
        numbers = sorted(int(entry.name) for entry in self.base.iterdir() if entry.name.isdigit())
        newest = numbers[-1] if numbers else None
        if newest is None or (self._current and self._current.number == newest) or newest in self._failed:
            return
        try:
            loaded = LoadedVersion(self.base / str(newest))
        except Exception as error:  # a broken export must not stop the version that answers
            self._failed[newest] = str(error)
            return
        print(f"loaded {self.name} version {loaded.number}, {loaded.warmed_up} warm-up requests", flush=True)
        with self._lock:
            old, self._current = self._current, loaded
            self._busy[loaded.number] = 0
            while old and self._busy[old.number]:
                self._lock.wait()
        if old:
            old.close()

    def _watch(self):
        while True:
            time.sleep(self.poll_seconds)
            self.refresh()

    @contextmanager
    def version(self, name, number=None):
        """The version that answers, kept until the block ends."""
        with self._lock:
            current = self._current
            if name != self.name or number not in (None, current.number):
                wanted = f"{name}" + (f" version {number}" if number else "")
                raise Refused("NOT_FOUND", f"Servable not found for request: {wanted}")
            self._busy[current.number] += 1
        try:
            yield current
        finally:
            with self._lock:
                self._busy[current.number] -= 1
                self._lock.notify_all()

    def status(self, name):
        if name != self.name:
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, error in [(self._current.number, ""), *self._failed.items()]:
            one = response.model_version_status.add(version=number, state=50 if error else 30)
            one.status.error_code, one.status.error_message = (2, error) if error else (0, "")
        return response


class GrpcService(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):
        return self._answered(context, lambda: self._predict(request, context))

    def GetModelMetadata(self, request, context):
        return self._answered(context, lambda: self._metadata(request))

    def GetModelStatus(self, request, context):
        return self._answered(context, lambda: self.model.status(request.model_spec.name))

    @staticmethod
    def _answered(context, answer):
        try:
            return answer()
        except Refused as refused:
            context.abort(getattr(grpc.StatusCode, refused.code), str(refused))

    def _predict(self, request, context):
        try:
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        except (TypeError, ValueError) as error:
            raise Refused("INVALID_ARGUMENT", f"tensor cannot be read: {error}") from None
        with self.model.version(request.model_spec.name, _number(request.model_spec)) as version:
            remaining = context.time_remaining()
            outputs = version.predict(
                request.model_spec.signature_name, inputs, 3600.0 if remaining is None else remaining
            )
            response = predict_pb2.PredictResponse()
            response.model_spec.name = request.model_spec.name
            response.model_spec.version.value = version.number
            response.model_spec.signature_name = request.model_spec.signature_name or "serving_default"
        for name, values in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return response

    def _metadata(self, request):
        with self.model.version(request.model_spec.name, _number(request.model_spec)) as version:
            return metadata_of(request.model_spec.name, version)


def metadata_of(name, version):
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version.number
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, signature in version.signatures.items():
        signatures.signature_def[key].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response


def _number(spec):
    return spec.version.value if spec.HasField("version") else None


class RestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: Model

    def do_GET(self):
        self._reply(self._get)

    def do_POST(self):
        self._reply(self._post)

    def _reply(self, make):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            status, content = 200, make(body)
        except Refused as refused:
            status, content = HTTP_CODES.get(refused.code, 500), json.dumps({"error": str(refused)})
        payload = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _get(self, _):
        found = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?", self.path)
        if not found:
            raise Refused("INVALID_ARGUMENT", f"Malformed request: GET {self.path}")
        if found[3]:
            with self.model.version(found[1], found[2] and int(found[2])) as version:
                return json_format.MessageToJson(metadata_of(found[1], version), preserving_proto_field_name=True)
        return json_format.MessageToJson(
            self.model.status(found[1]), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )

    def _post(self, body):
        found = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", self.path)
        if not found:
            raise Refused("INVALID_ARGUMENT", f"Malformed request: POST {self.path}")
        try:
            request = json.loads(body, object_hook=_bytes)
            by_rows = "instances" in request
            signature = request.get("signature_name", "serving_default")
            given = request["instances" if by_rows else "inputs"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Refused("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
        with self.model.version(found[1], found[2] and int(found[2])) as version:
            if signature not in version.signatures:
                raise Refused("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
            wanted = version.signatures[signature].inputs
            columns = _columns(given, by_rows, wanted)
            outputs = version.predict(signature, {n: _array(v, wanted[n]) for n, v in columns.items()}, 3600.0)
        lists = {name: _texts(values).tolist() for name, values in outputs.items()}
        if not by_rows:
            return json.dumps({"outputs": lists})
        rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        return json.dumps({"predictions": rows})

    def log_message(self, *_):
        pass


def _bytes(value):
    return base64.b64decode(value["b64"], validate=True) if value.keys() == {"b64"} else value


def _texts(values):
    """Byte strings as JSON's texts."""
    return np.char.decode(values.astype(bytes), "utf-8") if values.dtype == object else values


def _columns(given, by_rows, wanted):
    if not by_rows:
        columns = given if isinstance(given, dict) else {next(iter(wanted)): given}
    elif all(isinstance(row, dict) for row in given):
        columns = {name: [row.get(name) for row in given] for name in given[0]} if given else {}
    else:
        columns = {next(iter(wanted)): given}
    if unknown := set(columns) - set(wanted):
        raise Refused("INVALID_ARGUMENT", f"JSON Value: unknown inputs {sorted(unknown)}")
    return columns


def _array(values, info):
    kind = tf.as_dtype(info.dtype)
    try:
        return np.array(values, object if kind == tf.string else kind.as_numpy_dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused("INVALID_ARGUMENT", f"JSON Value cannot be a {kind.name} tensor: {error}") from None


class RestServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rest_api_port", type=int, default=0)
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", required=True)
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    given = parser.parse_args(words)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    model = Model(given.model_name, given.model_base_path, given.file_system_poll_wait_seconds)
    server = grpc.server(
        ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
    )
    service = GrpcService(model)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    if not server.add_insecure_port(f"127.0.0.1:{given.port}"):
        raise SystemExit(f"port {given.port} is taken")
    server.start()
    print(f"Running gRPC ModelServer at 127.0.0.1:{given.port} ...", flush=True)
    if given.rest_api_port:
        RestHandler.model = model
        rest = RestServer(("127.0.0.1", given.rest_api_port), RestHandler)
        print(f"Exporting HTTP/REST API at:localhost:{given.rest_api_port} ...", flush=True)
        rest.serve_forever()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
