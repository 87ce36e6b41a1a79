"""`python scripts/demo.py ...` is `zip-keras demo ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
