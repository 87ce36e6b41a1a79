"""`python scripts/propose.py ...` is `zip-keras propose ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["propose", *sys.argv[1:]]))
