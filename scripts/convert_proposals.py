"""`python scripts/convert_proposals.py ...` is `zip-keras convert_proposals ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert_proposals", *sys.argv[1:]]))
