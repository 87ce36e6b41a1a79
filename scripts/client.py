"""See `python scripts/client.py --help`."""

from _door import run

if __name__ == "__main__":
    run("client")
