"""Runs a command of zip-keras from a checkout: what every `scripts/NAME.py` does."""

import os
import sys

# Before the package is imported: commands import TensorFlow only when they need it, and without its start-up notes.
os.environ.setdefault("ZIP_KERAS_LAZY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def run(command: str) -> None:
    """Exits with the code of `zip-keras COMMAND`, given this process's arguments."""
    from zip_keras.cli import main

    sys.exit(main([command, *sys.argv[1:]]))
