"""`python scripts/export.py ...` is `zip-keras export ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
