"""`python scripts/compare.py ...` is `zip-keras compare ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
