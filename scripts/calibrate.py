"""`python scripts/calibrate.py ...` is `zip-keras calibrate ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["calibrate", *sys.argv[1:]]))
