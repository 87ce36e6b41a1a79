"""`python scripts/measure.py ...` is `zip-keras measure ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["measure", *sys.argv[1:]]))
