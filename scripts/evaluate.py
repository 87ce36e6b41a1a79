"""`python scripts/evaluate.py ...` is `zip-keras evaluate ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
