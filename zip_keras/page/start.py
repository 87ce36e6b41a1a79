"""What can go wrong before a model is loaded: Gradio is not installed, the address is taken. Without TensorFlow."""

import os
import socket
from typing import Any

from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Gradio and the library of its makers send statistics unless they are told not to before they are imported.
_SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def import_gradio() -> Any:
    """Gradio, without its statistics.

    Raises:
        UserError: it is not installed.
    """
    os.environ.update(_SILENT)
    return optional_import("gradio", "zip-keras serve", "serve")


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is reported before the model is loaded.

    Args:
        host: name or address of this machine.
        port: 0 takes a free one.

    Raises:
        UserError: no such address here, or the port is in use or needs other rights.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise UserError(f"--host {host}: no such address ({error.strerror}); the default is 127.0.0.1") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UserError(
            f"{host}:{port}: cannot be opened ({reason}); choose another --port, 0 takes a free one"
        ) from None


def address_of(opened: socket.socket) -> str:
    """`http://HOST:PORT`, as a browser takes it."""
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
