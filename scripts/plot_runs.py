"""See `python scripts/plot_runs.py --help`."""

from _door import run

if __name__ == "__main__":
    run("plot_runs")
