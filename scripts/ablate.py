"""`python scripts/ablate.py ...` is `zip-keras ablate ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["ablate", *sys.argv[1:]]))
