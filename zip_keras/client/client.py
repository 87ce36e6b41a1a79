"""`Client`: predictions over the network, with limits, a deadline and retries."""

import io
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from zip_keras.client.answers import Answer
from zip_keras.client.failures import WORTH_A_RETRY, Retry, ServerError
from zip_keras.client.transports import connect
from zip_keras.data.image_headers import MAX_PIXELS, check_pixels, refuse_large, stated_size
from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import
from zip_keras.utils.reading import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

Sendable = Union[bytes, str, Path, np.ndarray, "Image", Callable[[], bytes]]

MAX_BYTES = 32 << 20  # per image; TensorFlow Serving accepts up to 2 GiB over gRPC
_ANY_NUMBER = 1 << 30  # stands for no limit of boxes
_ADVICE = {
    "NOT_FOUND": "check the model's name and version",
    "UNAVAILABLE": "is it running, and does the port serve this protocol (gRPC 8500, REST 8501 by default)?",
    "DEADLINE_EXCEEDED": "allow more time, or send fewer requests at once",
}


@dataclass(frozen=True)
class ModelVersion:
    """A model version on the server.

    Attributes:
        version: version number.
        state: "AVAILABLE" if it accepts requests; otherwise "START", "LOADING", "UNLOADING" or "END".
        error: the reason if it could not be loaded, otherwise empty.
    """

    version: int
    state: str
    error: str


class Client:
    """Client of a server with a model exported by `zip-keras export`. Thread-safe.

    Each image is sent as an encoded file in its own request: the file is about a tenth of the size of the pixels,
    images of different sizes need no padding, and batching brings no speed-up on CPUs.

    Args:
        server: `HOST:PORT` for gRPC (`grpcs://HOST:PORT` with TLS), `http://HOST:PORT` or `https://` for REST.
        model: name of the served model.
        version: model version; None: the server's newest.
        max_boxes: maximum number of boxes per image; None: the export's own limit.
        score_threshold: boxes with lower scores are dropped; None: no threshold.
        timeout: seconds per image for all attempts together.
        retry: pauses between attempts. Only connection failures and a busy server are retried.
        concurrency: maximum number of concurrent requests in `predict_many`.
        max_bytes: maximum size of an encoded image in bytes.
        max_pixels: maximum number of pixels per image, read from its header before it is sent.
        headers: sent with every request, for example `{"authorization": "Bearer ..."}`.
        certificate: PEM file of trusted certificate authorities for TLS; None: the system's.

    Raises:
        UserError: the address is invalid, a number is out of range, or grpcio is missing for gRPC.
    """

    def __init__(
        self,
        server: str,
        model: str,
        *,
        version: int | None = None,
        max_boxes: int | None = None,
        score_threshold: float | None = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
        concurrency: int = 4,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        headers: Mapping[str, str] | None = None,
        certificate: str | None = None,
    ):
        for name, value in (
            ("timeout", timeout),
            ("concurrency", concurrency),
            ("version", version),
            ("max_boxes", max_boxes),
        ):
            if value is not None and value <= 0:
                raise UserError(f"{name} is {value}; it must be above 0")
        self.server, self.model, self.version = server, model, version
        self.timeout, self.concurrency = timeout, concurrency
        self.max_bytes, self.max_pixels = max_bytes, max_pixels
        self._signature, self._limits = "encoded", {}
        if max_boxes is not None or score_threshold is not None:
            self._signature = "encoded_with_options"
            self._limits = {
                "max_boxes": np.array([_ANY_NUMBER if max_boxes is None else max_boxes], np.int32),
                "score_threshold": np.array([-1 if score_threshold is None else score_threshold], np.float32),
            }
        self.retry = retry or Retry()
        self._transport = connect(server, headers or {}, certificate)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def predict(self, image: Sendable, name: str | None = None) -> Answer:
        """Predict the boxes of one image.

        Args:
            image: the bytes of a JPEG, PNG, GIF, BMP or WebP file, its path, or a function that returns the bytes; or a
                uint8 array `[H, W, 3]` RGB or a Pillow image, which is sent as PNG.
            name: name of the image in messages if it has no path.

        Raises:
            UserError: the image cannot be read or is too large, for the client or the server.
            ServerError: the server did not answer before the deadline, or failed with an error that is not retried.
        """
        content, shown = self._encoded(image, name)
        outputs, version = self.call(self._signature, {"image_bytes": [content], **self._limits}, shown)
        try:
            if not np.asarray(outputs["decoded"], bool)[0]:
                raise UserError(
                    f"{shown}: the server cannot decode it: no JPEG, PNG, GIF, BMP or WebP image, data that end early, "
                    "or too many pixels"
                )
            return Answer.of_outputs(outputs, version)
        except (KeyError, IndexError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise ServerError(
                f"{self.server}: model {self.model!r} does not answer as an export of zip-keras ({error})", "INTERNAL"
            ) from None

    def call(
        self, signature: str, inputs: Mapping[str, Any], name: str = "request"
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """Call any signature and return its outputs by name and the model version that answered.

        Over REST the version is the requested one, or None.

        Args:
            signature: for example "serving_default".
            inputs: arrays, or lists of byte strings, by name; the client's limits are not applied.
            name: name of the request in messages.

        Raises:
            ServerError: see `predict`.
        """
        return self._with_retries(
            name, lambda left: self._transport.predict(self.model, self.version, signature, inputs, left)
        )

    def predict_many(
        self, images: Iterable[Sendable], names: Iterable[str] | None = None
    ) -> Iterator[Answer | UserError]:
        """Predict many images with `concurrency` concurrent requests and few images in memory at a time.

        Args:
            images: each as in `predict`; read lazily.
            names: names of the images in messages if they have no path.

        Yields:
            The answer or the error of each image, in the order of the images. Errors do not stop the iteration.
        """
        pending: deque[Future[Answer | UserError]] = deque()
        shown = iter(names) if names is not None else (f"images[{number}]" for number in itertools.count())
        with ThreadPoolExecutor(self.concurrency) as pool:
            try:
                for image in images:
                    pending.append(pool.submit(self._answer_or_error, image, next(shown)))
                    if len(pending) >= 2 * self.concurrency:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:  # the caller stopped the iteration
                    future.cancel()

    def versions(self) -> list[ModelVersion]:
        """List the model's versions on the server, newest first.

        Raises:
            ServerError: see `predict`.
        """
        found = self._with_retries("status", lambda left: self._transport.versions(self.model, left))
        return sorted((ModelVersion(*one) for one in found), key=lambda one: -one.version)

    def _answer_or_error(self, image: Sendable, name: str) -> Answer | UserError:
        try:
            return self.predict(image, name)
        except UserError as error:
            return error

    def _with_retries(self, shown: str, send: Any) -> Any:
        deadline = time.monotonic() + self.timeout
        pauses = self.retry.pauses()
        while True:
            try:
                return send(max(0.001, deadline - time.monotonic()))
            except ServerError as error:
                pause = next(pauses, None) if error.code in WORTH_A_RETRY else None
                if pause is None or time.monotonic() + pause >= deadline:
                    raise self._told(shown, error) from None
            time.sleep(pause)

    def _told(self, shown: str, error: ServerError) -> ServerError:
        advice = f"; {_ADVICE[error.code]}" if error.code in _ADVICE else ""
        return ServerError(f"{shown}: {self.server}, model {self.model!r}: {error.code}: {error}{advice}", error.code)

    def _encoded(self, image: Sendable, name: str | None) -> tuple[bytes, str]:
        """The bytes to send and the image's name in messages."""
        if isinstance(image, str | Path):
            content, shown = read_bytes(image, self.max_bytes), str(image)
        elif isinstance(image, bytes | bytearray | memoryview):
            content, shown = bytes(image), name or "image"
        elif callable(image):
            content, shown = image(), name or "image"
        else:
            shown = name or "image"
            content = self._as_png(image, shown)
        if len(content) > self.max_bytes:
            raise UserError(f"{shown}: {len(content):,} bytes are more than the limit of {self.max_bytes:,}")
        if stated_size(content) is None:
            raise UserError(f"{shown}: does not begin as a JPEG, PNG, GIF, BMP or WebP image")
        check_pixels(content, shown, self.max_pixels)
        return content, shown

    def _as_png(self, image: Any, shown: str) -> bytes:
        pillow = optional_import("PIL.Image", shown, "client")
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise UserError(
                    f"{shown}: an array of {image.dtype} and shape {list(image.shape)}; it must be uint8 [H, W, 3]"
                )
            image = pillow.fromarray(image)
        if not isinstance(image, pillow.Image):
            raise UserError(
                f"{shown}: a {type(image).__name__}; give bytes, a path, a uint8 array [H, W, 3] or a Pillow image"
            )
        refuse_large(image.height, image.width, shown, self.max_pixels)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
