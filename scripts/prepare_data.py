"""`python scripts/prepare_data.py ...` is `zip-keras prepare_data ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare_data", *sys.argv[1:]]))
