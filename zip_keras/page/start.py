"""Checks before a model is loaded: Gradio is installed and the address is free. Without TensorFlow."""

import os
import socket
from typing import Any

from zip_keras.errors import UserError
from zip_keras.utils.optional import optional_import

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Gradio and huggingface_hub send statistics unless these are set before they are imported.
_SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def import_gradio() -> Any:
    """Import Gradio with its statistics disabled.

    Raises:
        UserError: Gradio is not installed.
    """
    os.environ.update(_SILENT)
    return optional_import("gradio", "zip-keras serve", "serve")


def open_socket(host: str, port: int) -> socket.socket:
    """Open a listening socket, so that a port in use is reported before the model is loaded.

    Args:
        host: name or address of this machine.
        port: port number; 0 chooses a free one.

    Raises:
        UserError: the address does not exist on this machine, or the port is in use or needs other permissions.
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
    """The URL of a socket, `http://HOST:PORT`."""
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
