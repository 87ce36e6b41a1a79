"""`python scripts/baseline.py ...` is `zip-keras baseline ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["baseline", *sys.argv[1:]]))
