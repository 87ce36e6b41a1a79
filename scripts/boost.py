"""See `python scripts/boost.py --help`."""

from _door import run

if __name__ == "__main__":
    run("boost")
