"""See `python scripts/convert_proposals.py --help`."""

from _door import run

if __name__ == "__main__":
    run("convert_proposals")
