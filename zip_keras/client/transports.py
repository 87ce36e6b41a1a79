"""Single requests to TensorFlow Serving over gRPC or REST. `Client` adds retries."""

import base64
import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from zip_keras.client import protos, tensors
from zip_keras.client.failures import ServerError
from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import

# As in TensorFlow Serving: tensorflow_serving/model_servers/http_rest_api_util.cc and util/net_http.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "UNAVAILABLE",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MAX_ANSWER = 64 << 20  # bytes of a response


class Transport(Protocol):
    """A connection to one server."""

    def predict(
        self, model: str, version: int | None, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """Call a signature and return its outputs and the model version that answered, if it is known.

        Args:
            inputs: lists of byte strings, or arrays.
            timeout: seconds.

        Raises:
            ServerError: the call failed.
        """

    def versions(self, model: str, timeout: float) -> list[tuple[int, str, str]]:
        """List (version, state, message) of each version on the server.

        Raises:
            ServerError: see `predict`.
        """

    def close(self) -> None:
        """Close the connection."""


def connect(address: str, headers: Mapping[str, str], certificate: str | None) -> Transport:
    """Create the transport for an address.

    Args:
        address: `HOST:PORT` or `grpc://HOST:PORT` for gRPC, `grpcs://` with TLS, `http://HOST:PORT` or `https://` for
            REST.
        headers: sent with each request, for example an authorization.
        certificate: PEM file of trusted certificate authorities for TLS; None: the system's.

    Raises:
        UserError: the address is invalid, the certificate cannot be read, or grpcio is missing.
    """
    scheme, _, rest = address.rpartition("://")
    parts = urllib.parse.urlsplit(f"//{rest}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    path = parts.path.rstrip("/") if scheme.startswith("http") else ""
    if scheme not in ("", "grpc", "grpcs", "http", "https") or not host or (not port and scheme[:4] != "http"):
        raise UserError(
            f"server {address!r}: write HOST:PORT for gRPC (grpcs://HOST:PORT with TLS), or http://HOST:PORT for REST"
        )
    trusted: ssl.SSLContext | None = None
    if (scheme in ("grpcs", "https") and certificate is not None) or scheme == "https":
        try:
            trusted = ssl.create_default_context(cafile=certificate)
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"{certificate}: cannot be read as PEM certificates ({error})") from None
    if scheme in ("http", "https"):
        return RestTransport(host, port, path, headers, trusted)
    pem = None
    if certificate is not None:
        with open(certificate, "rb") as stream:
            pem = stream.read()
    return GrpcTransport(parts.netloc, headers, scheme == "grpcs", pem)


class GrpcTransport:
    """gRPC transport for `PredictionService` and `ModelService`."""

    def __init__(self, target: str, headers: Mapping[str, str], secure: bool, certificate: bytes | None):
        grpc = optional_import("grpc", f"server {target}", "client")
        self._error = grpc.RpcError
        self._metadata = [(name.lower(), value) for name, value in headers.items()]
        options = [
            ("grpc.max_send_message_length", -1),  # the client's own limit is lower
            ("grpc.max_receive_message_length", MAX_ANSWER),
            # Reconnect to a restarted server within a second, instead of up to two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if secure:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(certificate), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._predict = self._call("PredictionService/Predict", protos.PredictRequest, protos.PredictResponse)
        self._status = self._call(
            "ModelService/GetModelStatus", protos.GetModelStatusRequest, protos.GetModelStatusResponse
        )

    def predict(
        self, model: str, version: int | None, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        request = protos.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        if version is not None:
            request.model_spec.version.value = version
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tensors.to_proto(values))
        response = self._send(self._predict, request, timeout)
        try:
            outputs = {name: tensors.to_array(values) for name, values in response.outputs.items()}
        except ValueError as error:
            raise ServerError(f"the answer cannot be read: {error}", "INTERNAL") from None
        return outputs, response.model_spec.version.value or None

    def versions(self, model: str, timeout: float) -> list[tuple[int, str, str]]:
        request = protos.GetModelStatusRequest()
        request.model_spec.name = model
        response = self._send(self._status, request, timeout)
        return [
            (s.version, protos.VERSION_STATES.get(s.state, str(s.state)), s.status.error_message)
            for s in response.model_version_status
        ]

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def _send(self, call: Any, request: Any, timeout: float) -> Any:
        try:
            return call(request, timeout=timeout, metadata=self._metadata)
        except self._error as error:
            raise ServerError(error.details() or "no reason given", error.code().name) from None


class RestTransport:
    """REST transport with one persistent connection per thread."""

    def __init__(
        self, host: str, port: int | None, path: str, headers: Mapping[str, str], trusted: ssl.SSLContext | None
    ):
        self._host, self._port, self._path, self._trusted = host, port, path, trusted
        self._headers = dict(headers)
        self._local = threading.local()
        self._open: list[http.client.HTTPConnection] = []

    def predict(
        self, model: str, version: int | None, signature: str, inputs: Mapping[str, Any], timeout: float
    ) -> tuple[dict[str, np.ndarray], int | None]:
        place = "" if version is None else f"/versions/{version}"
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(values) for name, values in inputs.items()},
        }
        content = self._send("POST", f"{_path_of(model)}{place}:predict", json.dumps(body).encode(), timeout)
        outputs = content.get("outputs")
        if not isinstance(outputs, dict):
            raise ServerError("the answer has no outputs by name", "INTERNAL")
        return {name: np.asarray(values) for name, values in outputs.items()}, version

    def versions(self, model: str, timeout: float) -> list[tuple[int, str, str]]:
        content = self._send("GET", _path_of(model), None, timeout)
        try:
            return [
                (int(s["version"]), s["state"], s["status"].get("error_message", ""))
                for s in content["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ServerError("the answer is no status of a model", "INTERNAL") from None

    def close(self) -> None:
        for connection in self._open:
            connection.close()

    def _send(self, method: str, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        connection = self._connection(timeout)
        try:
            connection.request(method, self._path + path, body, {"Content-Type": "application/json", **self._headers})
            response = connection.getresponse()
            content = response.read(MAX_ANSWER + 1)
        except TimeoutError:
            self._drop()
            raise ServerError(f"no answer within {timeout:.1f} s", "DEADLINE_EXCEEDED") from None
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise ServerError(str(error) or type(error).__name__, "UNAVAILABLE") from None
        if len(content) > MAX_ANSWER:
            self._drop()
            raise ServerError(f"an answer of more than {MAX_ANSWER} bytes", "RESOURCE_EXHAUSTED")
        try:
            parsed = json.loads(content)
        except (ValueError, RecursionError):
            parsed = None
        if response.status != 200:
            reason = parsed.get("error") if isinstance(parsed, dict) else None
            text = str(reason or content[:200].decode(errors="replace") or response.reason)
            raise ServerError(text, _CODES.get(response.status, "UNKNOWN" if response.status < 500 else "INTERNAL"))
        if not isinstance(parsed, dict):
            raise ServerError("the answer is no JSON object", "INTERNAL")
        return parsed

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            if self._trusted is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
            else:
                connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._trusted)
            self._local.connection = connection
            self._open.append(connection)
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection

    def _drop(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._open.remove(connection)
            self._local.connection = None


def _path_of(model: str) -> str:
    return f"/v1/models/{urllib.parse.quote(model, safe='')}"


def _to_json(values: np.ndarray | Sequence[bytes]) -> list[Any]:
    if isinstance(values, np.ndarray):
        return values.tolist()
    return [{"b64": base64.b64encode(value).decode()} for value in values]
