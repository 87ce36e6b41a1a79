"""Serve the page. Browsers load nothing from other hosts. Needs the extra `serve`."""

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

# Prevents browsers from loading anything from other hosts, even if Gradio's page requests it.
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
    """Build the page as an ASGI application.

    Args:
        model: the model to serve.
        folder: empty folder for uploads and downloads.
        host: host on which the page is served. On loopback, requests with another host name are refused to prevent DNS
            rebinding.

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
        # System fonts: Gradio's default fonts are loaded from another host.
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=STYLE,
        js=PASTE,
    )
    if host in LOOPBACK:
        app.add_middleware(hosts.TrustedHostMiddleware, allowed_hosts=[*LOOPBACK[:2], "[::1]"])
    return _WithHeaders(app)


class _WithHeaders:
    """ASGI middleware that adds `_HEADERS` to responses."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def serve_page(model: PageModel, opened: socket.socket, host: str = LOOPBACK[0]) -> None:
    """Serve until the process is interrupted or terminated, then delete all files of visitors.

    Must run in the main thread, which receives the signals.

    Args:
        model: the model to serve.
        opened: socket of `open_socket`.
        host: as in `make_app`.

    Raises:
        UserError: Gradio is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="zip-keras-", ignore_cleanup_errors=True) as folder:
        app = make_app(model, Path(folder), host)
        uvicorn = optional_import("uvicorn", "zip-keras serve", "serve")
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        # uvicorn raises received signals again when it ends. The default SIGTERM handler would skip the deletion.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):  # the normal way to stop
            uvicorn.Server(config).run(sockets=[opened])
