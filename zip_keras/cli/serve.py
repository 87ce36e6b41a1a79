"""`zip-keras serve`: serve a local web page to try a model."""

import argparse
import os
import sys
import webbrowser

from zip_keras.cli import _options
from zip_keras.inference.model_files import find_model
from zip_keras.page.start import LOOPBACK, address_of, import_gradio, open_socket
from zip_keras.presets import DEFAULT_PRESET
from zip_keras.utils.optional import optional_import
from zip_keras.utils.progress import note
from zip_keras.utils.startup import start_tensorflow

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860

DESCRIPTION = """\
Serves a page on this machine: drop or paste an image, or take one with the camera, and see the proposals, or the
labelled detections if the model is a detector. Sliders for the number of boxes, their score and their overlap work
without running the network again. Boxes can be downloaded as json and csv, and as a picture. Images stay on this
machine and are deleted at the end. Press Ctrl-C to stop.

There is no password: everyone who can reach the address can use the page. By default only this machine can."""
EXAMPLES = """\
  zip-keras serve
  zip-keras serve zip_lite_detector
  zip-keras serve exported/lite --port 8000 --no-browser
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        default=DEFAULT_PRESET,
        metavar="MODEL",
        help=f"{_options.MODEL_HELP} of a proposer or a detector (default: {DEFAULT_PRESET})",
    )
    parser.add_argument(
        "--host",
        default=DEFAULT_HOST,
        metavar="ADDRESS",
        help=f"address to serve at; 0.0.0.0 allows other machines (default: {DEFAULT_HOST})",
    )
    parser.add_argument(
        "--port",
        type=_options.in_range(int, low=0, high=65535),
        default=DEFAULT_PORT,
        metavar="N",
        help=f"port; 0 takes a free one (default: {DEFAULT_PORT})",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address without opening a browser")


def run(arguments: argparse.Namespace) -> None:
    find_model(arguments.model)
    for module in ("PIL.Image", "matplotlib.figure"):
        optional_import(module, "zip-keras serve", "serve")
    import_gradio()
    with open_socket(arguments.host, arguments.port) as opened:
        start_tensorflow(arguments.device)
        from zip_keras.page.loading import open_model
        from zip_keras.page.server import serve_page

        model = open_model(arguments.model)
        if arguments.host not in LOOPBACK:
            note("other machines can use the page; there is no password")
        address = address_of(opened)
        print(f"{address}: {arguments.model}; press Ctrl-C to stop", flush=True)
        if not arguments.no_browser and _has_screen():
            webbrowser.open(address)  # the socket listens already, so the browser waits for the page
        serve_page(model, opened, arguments.host)


def _has_screen() -> bool:
    """Whether there is a display. Without one, `webbrowser` would open a text browser in the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
