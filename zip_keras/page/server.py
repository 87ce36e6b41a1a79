"""Serves the page: one process, one address; browsers load nothing from another machine (the extra `serve`)."""

import contextlib
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

from zip_keras.data.encoded import MAX_BYTES
from zip_keras.page.app import PASTE, STYLE, build_page
from zip_keras.page.model import PageModel
from zip_keras.page.start import LOOPBACK, import_gradio
from zip_keras.utils.optional import optional_import

# A browser then loads nothing from another machine, whatever Gradio's own page asks for.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def make_app(model: PageModel, folder: Path, host: str = LOOPBACK[0]) -> Any:
    """The page as an ASGI application.

    Args:
        model: that answers.
        folder: an empty one, for files that visitors send and download.
        host: where it is served. On loopback, requests by another name are refused: a site whose name is pointed at
            this machine (DNS rebinding) must not read the images.

    Raises:
        UserError: Gradio is not installed.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
    gr = import_gradio()
    fastapi = optional_import("fastapi", "zip-keras serve", "serve")
    hosts = optional_import("starlette.middleware.trustedhost", "zip-keras serve", "serve")
    downloads = folder / "downloads"
    downloads.mkdir()
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        build_page(model, downloads),
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        max_file_size=MAX_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        # Fonts of the machine: Gradio's own come from another one.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=STYLE,
        js=PASTE,
    )
    if host in LOOPBACK:
        app.add_middleware(hosts.TrustedHostMiddleware, allowed_hosts=[*LOOPBACK[:2], "[::1]"])
    return _WithHeaders(app)


class _WithHeaders:
    """An ASGI application whose answers carry `_HEADERS`."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def serve_page(model: PageModel, opened: socket.socket, host: str = LOOPBACK[0]) -> None:
    """Serves until the process is interrupted or terminated; then all files of visitors are deleted.

    Has to run in the main thread, which gets the signals.

    Args:
        model: that answers.
        opened: of `open_socket`.
        host: as in `make_app`.

    Raises:
        UserError: Gradio is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="zip-keras-", ignore_cleanup_errors=True) as folder:
        app = make_app(model, Path(folder), host)
        uvicorn = optional_import("uvicorn", "zip-keras serve", "serve")
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        # uvicorn answers the signals, and sends them again at its end: by default that would be before the deletion.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            uvicorn.Server(config).run(sockets=[opened])
