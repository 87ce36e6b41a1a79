"""`python scripts/attention.py ...` is `zip-keras attention ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["attention", *sys.argv[1:]]))
