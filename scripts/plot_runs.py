"""`python scripts/plot_runs.py ...` is `zip-keras plot_runs ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["plot_runs", *sys.argv[1:]]))
