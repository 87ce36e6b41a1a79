"""See `python scripts/prepare_data.py --help`."""

from _door import run

if __name__ == "__main__":
    run("prepare_data")
