"""`python scripts/benchmark_evaluation.py ...` is `zip-keras benchmark_evaluation ...`."""

import sys

from zip_keras.cli import main

if __name__ == "__main__":
    sys.exit(main(["benchmark_evaluation", *sys.argv[1:]]))
