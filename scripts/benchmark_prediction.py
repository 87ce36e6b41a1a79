"""See `python scripts/benchmark_prediction.py --help`."""

from _door import run

if __name__ == "__main__":
    run("benchmark_prediction")
