"""`python scripts/convert_weights.py ...` is `zip-keras convert_weights ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert_weights", *sys.argv[1:]]))
