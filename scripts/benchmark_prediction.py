"""`python scripts/benchmark_prediction.py ...` is `zip-keras benchmark_prediction ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark_prediction", *sys.argv[1:]]))
