"""Command line: `python -m zip_keras COMMAND ...` is the same as `zip-keras COMMAND ...`."""

import os
import sys

os.environ.setdefault("ZIP_KERAS_LAZY", "1")  # inherited by worker processes
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())
