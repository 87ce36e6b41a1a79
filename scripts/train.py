"""`python scripts/train.py ...` is `zip-keras train ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
