"""`python scripts/presets.py ...` is `zip-keras presets ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["presets", *sys.argv[1:]]))
