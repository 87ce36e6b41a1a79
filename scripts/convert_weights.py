"""See `python scripts/convert_weights.py --help`."""

from _door import run

if __name__ == "__main__":
    run("convert_weights")
