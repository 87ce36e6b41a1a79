"""See `python scripts/benchmark_evaluation.py --help`."""

from _door import run

if __name__ == "__main__":
    run("benchmark_evaluation")
